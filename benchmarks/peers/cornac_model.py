"""Saves a matrix factorization of given vectors as Cornac's model server loads it, and prints where.

Usage: cornac_model.py FOLDER, which holds what faiss_server.py's does, with one vector a user.
"""
import json
import sys
from pathlib import Path

import numpy as np
from cornac.data import Dataset
from cornac.models import MF

folder = Path(sys.argv[1])
meta = json.loads((folder / "meta.json").read_text())
items, users, dim = meta["items"], meta["users"], meta["dim"]
# Ids get their rows in the order in which they come.
ratings = [(f"u{user}", f"i{user % items + 1}", 1.0) for user in range(users)]
ratings += [("u0", f"i{item + 1}", 1.0) for item in range(users, items)]
train_set = Dataset.build(ratings, fmt="UIR")
assert list(train_set.uid_map) == [f"u{user}" for user in range(users)]
assert list(train_set.iid_map) == [f"i{item + 1}" for item in range(items)]
vectors = {
    "U": np.fromfile(folder / "users.f32", dtype=np.float32).reshape(users, dim),
    "V": np.fromfile(folder / "items.f32", dtype=np.float32).reshape(items, dim),
}
model = MF(k=dim, use_bias=False, trainable=False, init_params=vectors, num_threads=1)
model.fit(train_set)
print(model.save(str(folder / "model")))

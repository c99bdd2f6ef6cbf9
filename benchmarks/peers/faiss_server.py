"""faiss behind uvicorn: POST /recommend {"user", "k"} gives the best items of the user's vectors, scores beside ids.

Usage: faiss_server.py FOLDER PORT: FOLDER holds items.f32 [N, d], users.f32 [U, J, d] and meta.json, which gives N, d, U and J.
J = 1: one inner product. J > 1: one search of J queries, the best score of an item counting, as ComiRec serves interests.
One thread; uvloop and httptools where they are installed, which is uvicorn's fastest.
"""
import json
import sys
from pathlib import Path

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

FOLDER = Path(sys.argv[1])
META = json.loads((FOLDER / "meta.json").read_text())
N, D, U, J = META["items"], META["dim"], META["users"], META["interests"]

faiss.omp_set_num_threads(1)
USERS = np.fromfile(FOLDER / "users.f32", dtype=np.float32).reshape(U, J, D)
INDEX = faiss.IndexFlatIP(D)
INDEX.add(np.fromfile(FOLDER / "items.f32", dtype=np.float32).reshape(N, D))

app = FastAPI()


class Asked(BaseModel):
    user: str
    k: int = 10


@app.post("/recommend")
async def recommend(asked: Asked) -> Response:
    scores, rows = INDEX.search(USERS[int(asked.user[1:])], asked.k)
    if J > 1:
        best: dict[int, float] = {}
        for row, score in zip(rows.ravel().tolist(), scores.ravel().tolist()):
            if score > best.get(row, -np.inf):
                best[row] = score
        listed = sorted(best.items(), key=lambda entry: -entry[1])[: asked.k]
    else:
        listed = list(zip(rows[0].tolist(), scores[0].tolist()))
    body = {"items": [{"id": f"i{row + 1}", "score": score} for row, score in listed]}
    return Response(json.dumps(body), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)

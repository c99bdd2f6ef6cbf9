"""Forward passes of SASRec, eSASRec, GRU4Rec, MIND, SINE and REMI in PyTorch, in double precision, one user at a time, oldest event
first: written from the papers, with no batch and no padding. Reads weights and histories from a safetensors file and
writes the interests [U, K, d] (NaN where absent), then the scores of all items [U, N], as raw doubles.

    python model_forwards.py INPUT OUTPUT
"""
import json
import math
import struct
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DTYPES = {"F32": np.float32, "U32": np.uint32}


def read_safetensors(path):
    """Tensors by name, and the metadata."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


class Weights:
    def __init__(self, tensors):
        self.tensors = {name: torch.from_numpy(array.astype(np.float64)) for name, array in tensors.items()}

    def __getitem__(self, name):
        return self.tensors[name]

    def linear(self, name, x):
        bias = self.tensors.get(f"{name}/bias")
        product = x @ self[f"{name}/weight"]
        return product if bias is None else product + bias

    def norm(self, name, x):
        return functional.layer_norm(x, x.shape[-1:], self[f"{name}/gamma"], self[f"{name}/beta"], eps=1e-5)


def sasrec(w, config, x):
    """Kang and McAuley 2018, with LayerNorm before each sublayer and GELU; positions count back from the last event."""
    n, d = x.shape
    heads = config["heads"]
    x = w.norm("norm-in", x + w["position"][:n].flip(0))
    for i in range(config["layers"]):
        block = f"block{i}"
        h = w.norm(f"{block}/norm1", x)
        q, k, v = (w.linear(f"{block}/{part}", h).view(n, heads, d // heads).transpose(0, 1) for part in ("query", "key", "value"))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + w.linear(f"{block}/merge", attended.transpose(0, 1).reshape(n, d))
        h = w.norm(f"{block}/norm2", x)
        x = x + w.linear(f"{block}/narrow", functional.gelu(w.linear(f"{block}/widen", h)))
    return w.norm("norm-out", x)[-1:]


def esasrec(w, config, x):
    """Tikhonovich et al. 2025: SASRec with LiGR's gates before what is added, and SwiGLU."""
    n, d = x.shape
    heads = config["heads"]
    x = x + w["position"][:n].flip(0)
    for i in range(config["layers"]):
        block = f"block{i}"
        h = w.norm(f"{block}/norm1", x)
        q, k, v = (w.linear(f"{block}/{part}", h).view(n, heads, d // heads).transpose(0, 1) for part in ("query", "key", "value"))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        part = w.linear(f"{block}/merge", attended.transpose(0, 1).reshape(n, d))
        x = x + torch.sigmoid(w.linear(f"{block}/gate1", x)) * part
        h = w.norm(f"{block}/norm2", x)
        part = w.linear(f"{block}/narrow", functional.silu(w.linear(f"{block}/gated", h)) * w.linear(f"{block}/widen", h))
        x = x + torch.sigmoid(w.linear(f"{block}/gate2", x)) * part
    return w.norm("norm-out", x)[-1:]


def gru4rec(w, config, x):
    """Hidasi et al. 2015, by PyTorch's own GRU."""
    for i in range(config["layers"]):
        layer = nn.GRU(x.shape[1], config["hidden"], dtype=torch.float64)
        with torch.no_grad():
            layer.weight_ih_l0.copy_(w[f"gru{i}/input/weight"].T)
            layer.bias_ih_l0.copy_(w[f"gru{i}/input/bias"])
            layer.weight_hh_l0.copy_(w[f"gru{i}/state/weight"].T)
            layer.bias_hh_l0.copy_(w[f"gru{i}/state/bias"])
        x, _ = layer(x)
    return w.linear("output", x[-1:])


def mind(w, config, x):
    """Li et al. 2019, algorithm 1 and the layers above it."""
    n = len(x)
    count = max(1, min(config["interests"], int(math.log2(n))))
    logits = w["initial-logits"][:count, :n].flip(1).clone()
    behaviour = x @ w["bilinear"]
    for _ in range(config["iterations"]):
        shares = torch.softmax(logits, dim=0)
        z = shares @ behaviour
        squared = (z * z).sum(1, keepdim=True)
        capsules = squared / (1 + squared) * z / squared.sqrt()
        logits = logits + capsules @ behaviour.T
    return w.linear("output", torch.relu(w.linear("hidden", capsules)))


def remi(w, config, x):
    """Xie et al. 2023, equations 1 to 3: ComiRec-SA's self-attentive interests."""
    hidden = torch.tanh(w.linear("pool/hidden", x + w["position"][: len(x)].flip(0)))
    return torch.softmax(w.linear("pool/logits", hidden), dim=0).T @ x


def sine(w, config, x):
    """Tan et al. 2021, sections 3.2 and 3.3; lengths of 1 as in the released code."""
    n, d = x.shape
    summary = torch.softmax(w.linear("summary/logits", torch.tanh(w.linear("summary/hidden", x))).squeeze(1), 0) @ x
    closeness = w["prototypes"] @ summary
    top = torch.topk(closeness, config["interests"])
    concepts = w["prototypes"][top.indices] * torch.sigmoid(top.values)[:, None]
    of_events = functional.normalize(w.linear("intention", x), dim=1)
    assigned = torch.softmax(of_events @ w.norm("norm-prototype", concepts).T, dim=1)
    interests = []
    for k in range(config["interests"]):
        weight = w["weights/hidden/weight"][:, k * d : (k + 1) * d]
        attention = torch.softmax(torch.tanh((x + w["position"][:n].flip(0)) @ weight) @ w["weights/logits"][k], 0)
        interests.append(functional.normalize((assigned[:, k] * attention) @ x, dim=0))
    interests = torch.stack(interests)
    sequence = assigned @ concepts
    attention = torch.softmax(w.linear("intention/logits", torch.tanh(w.linear("intention", sequence))).squeeze(1), 0)
    following = w.norm("norm-next", attention @ sequence)
    return (torch.softmax(interests @ following / config["temperature"], 0) @ interests)[None]


def main():
    tensors, metadata = read_safetensors(sys.argv[1])
    config = json.loads(metadata["config"])
    lengths, histories = tensors.pop("lengths"), tensors.pop("histories")
    w = Weights(tensors)
    models = (sasrec, esasrec, gru4rec, mind, sine, remi)
    forward = {model.__name__: model for model in models}[config["model"]]
    count = int(metadata["interests"])
    items = w["items"]
    interests = np.full((len(lengths), count, items.shape[1]), np.nan)
    scores = np.zeros((len(lengths), items.shape[0]))
    with torch.no_grad():
        for user, length in enumerate(lengths):
            read = histories[user, :length][-config["maxHistory"] :].astype(np.int64) - 1
            vectors = forward(w, config, items[torch.from_numpy(read)])
            interests[user, : len(vectors)] = vectors.numpy()
            scores[user] = (vectors @ items.T).max(0).values.numpy()
    with open(sys.argv[2], "wb") as file:
        file.write(interests.tobytes())
        file.write(scores.tobytes())


main()

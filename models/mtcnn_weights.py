"""MTCNN's trained weights, as facenet-pytorch's package carries them."""

from __future__ import annotations

from models.weights import PackagedFile

PNET, RNET, ONET = "pnet", "rnet", "onet"

WEIGHTS = {
    name: PackagedFile("facenet_pytorch", "facenet-pytorch", ("data", f"{name}.pt"), digest)
    for name, digest in {
        PNET: "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
        RNET: "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
        ONET: "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
    }.items()
}

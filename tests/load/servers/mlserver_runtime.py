"""A runtime for MLServer: texts as BYTES to vectors. It runs in MLServer's own environment."""

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from tokenizers import Tokenizer


class OnnxTexts(MLModel):
    """A bundle's graph behind a bundle's tokenizer."""

    async def load(self) -> bool:
        """Load graph and tokenizer."""
        extra = self.settings.parameters.extra
        self._tokenizer = Tokenizer.from_file(extra["tokenizer"])
        self._tokenizer.enable_truncation(extra["max_tokens"])
        self._tokenizer.enable_padding()
        options = ort.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            extra["graph"], options, providers=["CPUExecutionProvider"]
        )
        self._inputs = extra["inputs"]
        self._output = extra["output"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a batch that MLServer has gathered, in its worker, as its own runtimes do."""
        rows = self._run(StringCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("embedding", rows)]
        )

    def _run(self, texts: list[str]) -> np.ndarray:
        encodings = self._tokenizer.encode_batch_fast(texts)
        arrays = {
            "token_ids": [one.ids for one in encodings],
            "segment_ids": [one.type_ids for one in encodings],
            "padding_mask": [one.attention_mask for one in encodings],
        }
        feeds = {name: np.array(arrays[name], np.int32) for name in self._inputs}
        return self._session.run([self._output], feeds)[0]

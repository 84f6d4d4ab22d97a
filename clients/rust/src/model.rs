//! The served models, how they read texts, and whether they are ready.

use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::call::{Ask, Call};
use crate::v1::{self, ModelInfo, TokenizeResult};
use crate::{Client, Error};

impl Client {
    /// Tells the server's version, its limits, and which models answer requests that name none.
    pub fn server_info(&self) -> Call<v1::GetServerInfoRequest> {
        self.call(v1::GetServerInfoRequest {}, ())
    }

    /// Lists the models, sorted by name: those that are served, and with their state those that are being
    /// loaded, were refused or were unloaded.
    pub fn models(&self) -> Call<v1::ListModelsRequest> {
        self.call(v1::ListModelsRequest {}, ())
    }

    /// Describes one model. The name may be empty where only one is loaded.
    pub fn model(&self, name: impl Into<String>) -> Call<v1::GetModelRequest> {
        self.call(v1::GetModelRequest { model: name.into() }, ())
    }

    /// Has a bundle of the server's models directory served as it is there now, and answers when it is
    /// warm; what was served under that name serves until then. `FailedPrecondition`: the bundle cannot be
    /// served. `PermissionDenied`: the server was not started with `--allow-model-control`.
    pub fn load_model(&self, name: impl Into<String>) -> Call<v1::LoadModelRequest> {
        self.call(v1::LoadModelRequest { model: name.into() }, ())
    }

    /// Has a model served no longer, where the server allows it.
    pub fn unload_model(&self, name: impl Into<String>) -> Call<v1::UnloadModelRequest> {
        self.call(v1::UnloadModelRequest { model: name.into() }, ())
    }

    /// Shows how a model's tokenizer reads texts, without running the model.
    pub fn tokenize(&self, texts: impl IntoIterator<Item = impl Into<String>>) -> Call<v1::TokenizeRequest> {
        let texts = texts.into_iter().map(Into::into).collect();
        self.call(v1::TokenizeRequest { texts, ..Default::default() }, ())
    }

    /// Tells whether the model is warm and served; an empty name asks for the whole server. `NotFound`:
    /// the server does not know the model.
    pub fn healthy(&self, model: impl Into<String>) -> Call<HealthCheckRequest> {
        self.call(HealthCheckRequest { service: model.into() }, ())
    }
}

impl Ask for v1::GetServerInfoRequest {
    type Received = v1::GetServerInfoResponse;
    type Answer = v1::GetServerInfoResponse;
    const PATH: &'static str = "/semserve.v1.ModelService/GetServerInfo";

    fn read(received: v1::GetServerInfoResponse) -> Result<Self::Answer, Error> {
        Ok(received)
    }
}

impl Ask for v1::ListModelsRequest {
    type Received = v1::ListModelsResponse;
    type Answer = Vec<ModelInfo>;
    const PATH: &'static str = "/semserve.v1.ModelService/ListModels";

    fn read(received: v1::ListModelsResponse) -> Result<Vec<ModelInfo>, Error> {
        Ok(received.models)
    }
}

impl Ask for v1::GetModelRequest {
    type Received = v1::GetModelResponse;
    type Answer = ModelInfo;
    const PATH: &'static str = "/semserve.v1.ModelService/GetModel";

    fn read(received: v1::GetModelResponse) -> Result<ModelInfo, Error> {
        received.model.ok_or_else(|| Error::empty("the model"))
    }
}

impl Ask for v1::LoadModelRequest {
    type Received = v1::LoadModelResponse;
    type Answer = ModelInfo;
    const PATH: &'static str = "/semserve.v1.ModelService/LoadModel";

    fn read(received: v1::LoadModelResponse) -> Result<ModelInfo, Error> {
        received.model.ok_or_else(|| Error::empty("the model"))
    }
}

impl Ask for v1::UnloadModelRequest {
    type Received = v1::UnloadModelResponse;
    type Answer = ();
    const PATH: &'static str = "/semserve.v1.ModelService/UnloadModel";

    fn read(_: v1::UnloadModelResponse) -> Result<(), Error> {
        Ok(())
    }
}

impl Ask for v1::TokenizeRequest {
    type Received = v1::TokenizeResponse;
    type Answer = Vec<TokenizeResult>;
    const PATH: &'static str = "/semserve.v1.ModelService/Tokenize";

    fn read(received: v1::TokenizeResponse) -> Result<Vec<TokenizeResult>, Error> {
        Ok(received.results)
    }
}

impl Ask for HealthCheckRequest {
    type Received = HealthCheckResponse;
    type Answer = bool;
    const PATH: &'static str = "/grpc.health.v1.Health/Check";

    fn read(received: HealthCheckResponse) -> Result<bool, Error> {
        Ok(received.status() == ServingStatus::Serving)
    }
}

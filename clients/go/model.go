package semserve

import (
	"context"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// ModelInfo describes a model; its state says whether it is loaded.
type ModelInfo = semservev1.ModelInfo

// Tokens is how a model's tokenizer reads one text, special tokens included.
type Tokens = semservev1.TokenizeResult

// ServerInfo is the server's version, its limits and its default models.
type ServerInfo = semservev1.GetServerInfoResponse

// Models lists the models, sorted by name: those that are loaded, loading, refused and unloaded.
func (c *Client) Models(ctx context.Context) ([]*ModelInfo, error) {
	answer, err := c.model.ListModels(ctx, &semservev1.ListModelsRequest{})
	return answer.GetModels(), err
}

// Model describes one model. The name may be empty where only one is loaded.
func (c *Client) Model(ctx context.Context, name string) (*ModelInfo, error) {
	answer, err := c.model.GetModel(ctx, &semservev1.GetModelRequest{Model: name})
	return answer.GetModel(), err
}

// LoadModel has a bundle of the server's models directory served as it is there now, and returns
// when it is warm; what was served under that name serves until then. A bundle that cannot be
// served is an error of code FailedPrecondition, and a server that was not started with
// --allow-model-control answers PermissionDenied.
func (c *Client) LoadModel(ctx context.Context, name string) (*ModelInfo, error) {
	answer, err := c.model.LoadModel(ctx, &semservev1.LoadModelRequest{Model: name})
	return answer.GetModel(), err
}

// UnloadModel has a model served no longer, where the server allows it.
func (c *Client) UnloadModel(ctx context.Context, name string) error {
	_, err := c.model.UnloadModel(ctx, &semservev1.UnloadModelRequest{Model: name})
	return err
}

// ServerInfo asks for the server's version, its limits and its default models.
func (c *Client) ServerInfo(ctx context.Context) (*ServerInfo, error) {
	return c.model.GetServerInfo(ctx, &semservev1.GetServerInfoRequest{})
}

// Tokenize shows how a model's tokenizer reads texts, without running the model.
func (c *Client) Tokenize(
	ctx context.Context, texts []string, options ...ModelOption,
) ([]*Tokens, error) {
	answer, err := c.model.Tokenize(ctx, &semservev1.TokenizeRequest{
		Model: settle(options).model, Texts: texts,
	})
	return answer.GetResults(), err
}

// Healthy tells whether the model is warm and served; an empty name asks for the whole server.
// A model that the server does not know is an error of code NotFound.
func (c *Client) Healthy(ctx context.Context, model string) (bool, error) {
	answer, err := c.health.Check(ctx, &healthv1.HealthCheckRequest{Service: model})
	return answer.GetStatus() == healthv1.HealthCheckResponse_SERVING, err
}

package semserve

import (
	"context"
	"iter"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// Embeddings answers a request to embed.
type Embeddings struct {
	// Model is the name of the model that answered.
	Model string
	// Results holds one embedding a text, in the order of the texts.
	Results []Embedding
	// Usage is what the request cost, in tokens.
	Usage Usage
}

// Embedding is the outcome of one text.
type Embedding struct {
	// Vector is the text's vector, nil where Err is set.
	Vector []float32
	// TokenCount is the number of the text's tokens, special tokens included, after truncation.
	TokenCount int
	// TruncatedTokens is how many tokens truncation dropped.
	TruncatedTokens int
	// Err is why the text has no vector: an [*Error], never set without [WithPartial].
	Err error
}

// Usage is what a request cost, in tokens.
type Usage struct {
	// TokenCount counts the tokens of the request's own texts.
	TokenCount int64
	// PaddedTokenCount counts what was computed for them, their batches' padding included.
	PaddedTokenCount int64
}

// Embed turns texts into vectors, in the order of the texts. One call with many texts costs far
// less than many calls; [Client.StreamEmbed] takes more than the server allows in one.
func (c *Client) Embed(
	ctx context.Context, texts []string, options ...EmbedOption,
) (*Embeddings, error) {
	answer, err := c.embedding.Embed(ctx, embedRequest(texts, settle(options)))
	if err != nil {
		return nil, err
	}
	return embeddings(answer)
}

// StreamEmbed embeds a stream of requests and yields each answer as soon as it is ready, by the
// rules of [Answer].
func (c *Client) StreamEmbed(
	ctx context.Context, requests iter.Seq[Request[string]], options ...EmbedOption,
) iter.Seq2[Answer[Embeddings], error] {
	chosen := settle(options)
	return stream(ctx, requests, c, embedProtocol{
		open: c.embedding.StreamEmbed,
		write: func(id string, items []string) *semservev1.StreamEmbedRequest {
			return &semservev1.StreamEmbedRequest{Id: id, Request: embedRequest(items, chosen)}
		},
		read: func(answer *semservev1.StreamEmbedResponse) (string, *Embeddings, error) {
			if failed := answer.GetError(); failed != nil {
				return answer.GetId(), nil, fromProto(failed)
			}
			made, err := embeddings(answer.GetResponse())
			return answer.GetId(), made, err
		},
		alone: func(ctx context.Context, items []string) (*Embeddings, error) {
			return c.Embed(ctx, items, options...)
		},
	})
}

type embedProtocol = protocol[
	string, Embeddings, semservev1.StreamEmbedRequest, semservev1.StreamEmbedResponse,
]

// Vectors is the vectors of all results, nil for each that has an Err.
func (e *Embeddings) Vectors() [][]float32 {
	vectors := make([][]float32, len(e.Results))
	for i, result := range e.Results {
		vectors[i] = result.Vector
	}
	return vectors
}

func embedRequest(texts []string, chosen settings) *semservev1.EmbedRequest {
	return &semservev1.EmbedRequest{
		Model:        chosen.model,
		Texts:        texts,
		Normalize:    chosen.normalize,
		Dimensions:   chosen.dimensions,
		Truncation:   chosen.truncation,
		Encoding:     chosen.encoding,
		AllowPartial: chosen.allowPartial,
		PromptName:   chosen.prompt,
		Side:         chosen.side,
	}
}

func embeddings(answer *semservev1.EmbedResponse) (*Embeddings, error) {
	made := &Embeddings{
		Model:   answer.GetModel(),
		Results: make([]Embedding, len(answer.GetResults())),
		Usage:   usage(answer.GetUsage()),
	}
	for i, result := range answer.GetResults() {
		made.Results[i] = Embedding{
			TokenCount:      int(result.GetTokenCount()),
			TruncatedTokens: int(result.GetTruncatedTokens()),
		}
		if failed := result.GetError(); failed != nil {
			made.Results[i].Err = fromProto(failed)
			continue
		}
		vector, err := unpack(result.GetEmbedding())
		if err != nil {
			return nil, err
		}
		made.Results[i].Vector = vector
	}
	return made, nil
}

func usage(answer *semservev1.Usage) Usage {
	return Usage{TokenCount: answer.GetTokenCount(), PaddedTokenCount: answer.GetPaddedTokenCount()}
}

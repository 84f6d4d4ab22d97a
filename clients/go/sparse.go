package semserve

import (
	"context"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// SparseEmbeddings answers a request for sparse vectors.
type SparseEmbeddings struct {
	// Model is the name of the model that answered.
	Model string
	// Results holds one sparse vector a text, in the order of the texts.
	Results []SparseEmbedding
	// Usage is what the request cost, in tokens.
	Usage Usage
}

// SparseEmbedding is the outcome of one text.
type SparseEmbedding struct {
	// Indices holds ids of tokens of the vocabulary, ascending.
	Indices []uint32
	// Values holds the weight of each of them, above 0.
	Values []float32
	// Tokens holds each of them as written in the vocabulary, with [WithTokens].
	Tokens []string
	// TokenCount is the number of the text's tokens, special tokens included, after truncation.
	TokenCount int
	// TruncatedTokens is how many tokens truncation dropped.
	TruncatedTokens int
	// Err is why the text has no vector: an [*Error], never set without [WithPartial].
	Err error
}

// EmbedSparse turns texts into the weights of tokens of the vocabulary, in the order of the texts.
func (c *Client) EmbedSparse(
	ctx context.Context, texts []string, options ...SparseOption,
) (*SparseEmbeddings, error) {
	chosen := settle(options)
	answer, err := c.embedding.EmbedSparse(ctx, &semservev1.EmbedSparseRequest{
		Model:         chosen.model,
		Texts:         texts,
		TopK:          chosen.topK,
		Truncation:    chosen.truncation,
		AllowPartial:  chosen.allowPartial,
		PromptName:    chosen.prompt,
		IncludeTokens: chosen.tokens,
	})
	if err != nil {
		return nil, err
	}
	made := &SparseEmbeddings{
		Model:   answer.GetModel(),
		Results: make([]SparseEmbedding, len(answer.GetResults())),
		Usage:   usage(answer.GetUsage()),
	}
	for i, result := range answer.GetResults() {
		made.Results[i] = SparseEmbedding{
			Indices:         result.GetIndices(),
			Values:          result.GetValues(),
			Tokens:          result.GetTokens(),
			TokenCount:      int(result.GetTokenCount()),
			TruncatedTokens: int(result.GetTruncatedTokens()),
		}
		if failed := result.GetError(); failed != nil {
			made.Results[i].Err = fromProto(failed)
		}
	}
	return made, nil
}

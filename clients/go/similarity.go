package semserve

import (
	"context"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// ComparePair is two texts to compare.
type ComparePair struct{ Left, Right string }

// Hit is one text that was found.
type Hit struct {
	// Index is its place, from 0, in the documents or the corpus of the request.
	Index int
	// Score is its score; higher is more similar.
	Score float32
}

// Scored is what the texts of a request score. T is a list of scores or of hits, or a list of such
// lists.
type Scored[T any] struct {
	// Model is the name of the model that answered.
	Model string
	// Scores holds the scores, or the hits, in the order that the method names.
	Scores T
	// Usage is what the request cost, in tokens.
	Usage Usage
	// TruncatedTokens is how many tokens truncation dropped from all texts.
	TruncatedTokens int
}

// Compare scores pairs of texts, in their order.
func (c *Client) Compare(
	ctx context.Context, pairs []ComparePair, options ...CompareOption,
) (*Scored[[]float32], error) {
	chosen := settle(options)
	request := &semservev1.CompareRequest{
		Model: chosen.model, Metric: chosen.metric, Pairs: make([]*semservev1.ComparePair, len(pairs)),
		PromptName: chosen.prompt, RightPromptName: chosen.secondPrompt,
	}
	for i, pair := range pairs {
		request.Pairs[i] = &semservev1.ComparePair{Left: pair.Left, Right: pair.Right}
	}
	answer, err := c.similarity.Compare(ctx, request)
	if err != nil {
		return nil, err
	}
	return scored(answer, answer.GetScores()), nil
}

// Rank sorts documents by their similarity to the query, best first.
func (c *Client) Rank(
	ctx context.Context, query string, documents []string, options ...RankOption,
) (*Scored[[]Hit], error) {
	chosen := settle(options)
	answer, err := c.similarity.Rank(ctx, &semservev1.RankRequest{
		Model: chosen.model, Metric: chosen.metric, TopK: chosen.topK, Query: query, Documents: documents,
		PromptName: chosen.prompt, DocumentPromptName: chosen.secondPrompt,
	})
	if err != nil {
		return nil, err
	}
	return scored(answer, hits(answer.GetHits())), nil
}

// Search finds for each query the most similar texts of the corpus, best first: ten unless
// [WithTopK] says otherwise.
func (c *Client) Search(
	ctx context.Context, queries, corpus []string, options ...RankOption,
) (*Scored[[][]Hit], error) {
	chosen := settle(options)
	answer, err := c.similarity.Search(ctx, &semservev1.SearchRequest{
		Model: chosen.model, Metric: chosen.metric, TopK: chosen.topK, Queries: queries, Corpus: corpus,
		PromptName: chosen.prompt, DocumentPromptName: chosen.secondPrompt,
	})
	if err != nil {
		return nil, err
	}
	found := make([][]Hit, len(answer.GetResults()))
	for i, result := range answer.GetResults() {
		found[i] = hits(result.GetHits())
	}
	return scored(answer, found), nil
}

// Matrix scores every text of the left against every text of the right: a row for each of the
// left. A right of nil stands for the left itself.
func (c *Client) Matrix(
	ctx context.Context, left, right []string, options ...CompareOption,
) (*Scored[[][]float32], error) {
	chosen := settle(options)
	answer, err := c.similarity.Matrix(ctx, &semservev1.MatrixRequest{
		Model: chosen.model, Metric: chosen.metric, Left: left, Right: right,
		PromptName: chosen.prompt, RightPromptName: chosen.secondPrompt,
	})
	if err != nil {
		return nil, err
	}
	rows := make([][]float32, len(answer.GetRows()))
	for i, row := range answer.GetRows() {
		rows[i] = row.GetScores()
	}
	return scored(answer, rows), nil
}

// scoredAnswer is the part that all answers with scores have.
type scoredAnswer interface {
	GetModel() string
	GetUsage() *semservev1.Usage
	GetTruncatedTokens() int32
}

func scored[T any](answer scoredAnswer, scores T) *Scored[T] {
	return &Scored[T]{
		Model:           answer.GetModel(),
		Scores:          scores,
		Usage:           usage(answer.GetUsage()),
		TruncatedTokens: int(answer.GetTruncatedTokens()),
	}
}

func hits(answer []*semservev1.Hit) []Hit {
	found := make([]Hit, len(answer))
	for i, hit := range answer {
		found[i] = Hit{Index: int(hit.GetIndex()), Score: hit.GetScore()}
	}
	return found
}

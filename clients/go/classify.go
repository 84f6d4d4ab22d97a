package semserve

import (
	"context"
	"iter"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// ClassifyPair is a premise and a hypothesis, or for a classifier of single texts the premise alone.
type ClassifyPair struct {
	Premise string
	// Hypothesis is left out of the request where it is empty.
	Hypothesis string
}

// Classifications answers a request to classify.
type Classifications struct {
	// Model is the name of the model that answered.
	Model string
	// Results holds one classification a pair, in the order of the pairs.
	Results []Classification
	// Usage is what the request cost, in tokens.
	Usage Usage
}

// Classification is the outcome of one pair.
type Classification struct {
	// Label is the label of the highest score, empty where Err is set.
	Label string
	// Scores holds every label with its probability, in the model's order.
	Scores []LabelScore
	// Logits holds the model's raw outputs in the same order.
	Logits []float32
	// TokenCount is the number of the pair's tokens, special tokens included, after truncation.
	TokenCount int
	// TruncatedTokens is how many tokens truncation dropped.
	TruncatedTokens int
	// Err is why the pair has no label: an [*Error], never set without [WithPartial].
	Err error
}

// LabelScore is a label with its probability, from 0 to 1.
type LabelScore struct {
	Label string
	Score float32
}

// Classify labels pairs, in their order.
func (c *Client) Classify(
	ctx context.Context, pairs []ClassifyPair, options ...ClassifyOption,
) (*Classifications, error) {
	answer, err := c.classification.Classify(ctx, classifyRequest(pairs, settle(options)))
	if err != nil {
		return nil, err
	}
	return classifications(answer), nil
}

// StreamClassify classifies a stream of requests and yields each answer as soon as it is ready, by
// the rules of [Answer].
func (c *Client) StreamClassify(
	ctx context.Context, requests iter.Seq[Request[ClassifyPair]], options ...ClassifyOption,
) iter.Seq2[Answer[Classifications], error] {
	chosen := settle(options)
	return stream(ctx, requests, c, classifyProtocol{
		open: c.classification.StreamClassify,
		write: func(id string, items []ClassifyPair) *semservev1.StreamClassifyRequest {
			return &semservev1.StreamClassifyRequest{Id: id, Request: classifyRequest(items, chosen)}
		},
		read: func(answer *semservev1.StreamClassifyResponse) (string, *Classifications, error) {
			if failed := answer.GetError(); failed != nil {
				return answer.GetId(), nil, fromProto(failed)
			}
			return answer.GetId(), classifications(answer.GetResponse()), nil
		},
		alone: func(ctx context.Context, items []ClassifyPair) (*Classifications, error) {
			return c.Classify(ctx, items, options...)
		},
	})
}

type classifyProtocol = protocol[
	ClassifyPair, Classifications, semservev1.StreamClassifyRequest, semservev1.StreamClassifyResponse,
]

func classifyRequest(pairs []ClassifyPair, chosen settings) *semservev1.ClassifyRequest {
	request := &semservev1.ClassifyRequest{
		Model:        chosen.model,
		Pairs:        make([]*semservev1.ClassifyPair, len(pairs)),
		Truncation:   chosen.truncation,
		AllowPartial: chosen.allowPartial,
	}
	for i, pair := range pairs {
		request.Pairs[i] = &semservev1.ClassifyPair{Premise: pair.Premise}
		if pair.Hypothesis != "" {
			request.Pairs[i].Hypothesis = &pair.Hypothesis
		}
	}
	return request
}

func classifications(answer *semservev1.ClassifyResponse) *Classifications {
	made := &Classifications{
		Model:   answer.GetModel(),
		Results: make([]Classification, len(answer.GetResults())),
		Usage:   usage(answer.GetUsage()),
	}
	for i, result := range answer.GetResults() {
		classified := result.GetClassification()
		made.Results[i] = Classification{
			Label:           classified.GetLabel(),
			Scores:          make([]LabelScore, len(classified.GetScores())),
			Logits:          classified.GetLogits(),
			TokenCount:      int(result.GetTokenCount()),
			TruncatedTokens: int(result.GetTruncatedTokens()),
		}
		for j, score := range classified.GetScores() {
			made.Results[i].Scores[j] = LabelScore{Label: score.GetLabel(), Score: score.GetScore()}
		}
		if failed := result.GetError(); failed != nil {
			made.Results[i].Err = fromProto(failed)
		}
	}
	return made
}

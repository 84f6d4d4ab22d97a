package semserve_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

func TestComparePairsGetTheirScores(t *testing.T) {
	server := new(answering)
	found, err := server.dial(t).Compare(t.Context(),
		[]semserve.ComparePair{{Left: "a", Right: "b"}},
		semserve.WithModel("lengths"), semserve.WithMetric(semserve.MetricDot))
	if err != nil {
		t.Fatal(err)
	}
	same(t, &semserve.Scored[[]float32]{
		Model: "lengths", Scores: []float32{0.5},
		Usage: semserve.Usage{TokenCount: 3, PaddedTokenCount: 4}, TruncatedTokens: 2,
	}, found)
	sameMessage(t, &semservev1.CompareRequest{
		Model: "lengths", Metric: semservev1.Metric_METRIC_DOT,
		Pairs: []*semservev1.ComparePair{{Left: "a", Right: "b"}},
	}, server.compared)
}

func TestRankAnswersWithPlacesBestFirst(t *testing.T) {
	server := new(answering)
	found, err := server.dial(t).Rank(t.Context(), "query", []string{"a", "b"},
		semserve.WithTopK(2), semserve.WithMetric(semserve.MetricEuclidean))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []semserve.Hit{{Index: 1, Score: 0.5}, {Index: 0}}, found.Scores)
	same(t, 3, found.TruncatedTokens)
	sameMessage(t, &semservev1.RankRequest{
		Query: "query", Documents: []string{"a", "b"}, TopK: proto.Int32(2),
		Metric: semservev1.Metric_METRIC_EUCLIDEAN,
	}, server.ranked)
}

func TestSearchAnswersEachQuery(t *testing.T) {
	server := new(answering)
	found, err := server.dial(t).Search(t.Context(), []string{"one", "two"}, []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, [][]semserve.Hit{{{Index: 2, Score: 0.25}}, {}}, found.Scores)
	same(t, 4, found.TruncatedTokens)
	sameMessage(t, &semservev1.SearchRequest{
		Queries: []string{"one", "two"}, Corpus: []string{"a", "b", "c"},
	}, server.searched)
}

func TestMatrixHasARowForEachLeftText(t *testing.T) {
	server := new(answering)
	found, err := server.dial(t).Matrix(t.Context(), []string{"a"}, []string{"a", "b"},
		semserve.WithMetric(semserve.MetricCosine))
	if err != nil {
		t.Fatal(err)
	}
	same(t, [][]float32{{1, 0.5}}, found.Scores)
	same(t, 5, found.TruncatedTokens)
	sameMessage(t, &semservev1.MatrixRequest{
		Left: []string{"a"}, Right: []string{"a", "b"}, Metric: semservev1.Metric_METRIC_COSINE,
	}, server.crossed)
}

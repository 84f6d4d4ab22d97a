package semserve_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

func TestClassifyAnswersInTheOrderOfThePairs(t *testing.T) {
	client := new(answering).dial(t)
	answer, err := client.Classify(t.Context(), []semserve.ClassifyPair{
		{Premise: "a red bus", Hypothesis: "bus"},
		{Premise: "a red bus", Hypothesis: "tram"},
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "words", answer.Model)
	same(t, []semserve.Classification{
		{
			Label: "within", Scores: []semserve.LabelScore{{Label: "within", Score: 0.75}},
			Logits: []float32{1.5}, TokenCount: 7,
		},
		{
			Label: "apart", Scores: []semserve.LabelScore{{Label: "apart", Score: 0.75}},
			Logits: []float32{1.5}, TokenCount: 7,
		},
	}, answer.Results)
}

func TestAHypothesisOfNothingIsLeftOut(t *testing.T) {
	server := new(answering)
	_, err := server.dial(t).Classify(t.Context(),
		[]semserve.ClassifyPair{{Premise: "one text"}, {Premise: "a pair", Hypothesis: "pair"}},
		semserve.WithModel("words"), semserve.WithTruncation(semserve.TruncationStart),
		semserve.WithPartial(),
	)
	if err != nil {
		t.Fatal(err)
	}
	sameMessage(t, &semservev1.ClassifyRequest{
		Model:        "words",
		Truncation:   semservev1.Truncation_TRUNCATION_START,
		AllowPartial: true,
		Pairs: []*semservev1.ClassifyPair{
			{Premise: "one text"},
			{Premise: "a pair", Hypothesis: proto.String("pair")},
		},
	}, server.classified)
}

func TestABadPairOfAPartialAnswerCarriesItsOwnError(t *testing.T) {
	client := new(answering).dial(t)
	answer, err := client.Classify(t.Context(),
		[]semserve.ClassifyPair{{}, {Premise: "good"}}, semserve.WithPartial())
	if err != nil {
		t.Fatal(err)
	}
	same(t, codes.InvalidArgument, status.Code(answer.Results[0].Err))
	same(t, "", answer.Results[0].Label)
	same(t, "within", answer.Results[1].Label)
}

package semserve_test

import (
	"errors"
	"math"
	"os"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

// The tests of this file ask a running server, whose address SEMSERVE_ADDRESS tells. It has a
// default embedding model and a default classifier of pairs.

func TestServerIsHealthyAndListsItsDefaults(t *testing.T) {
	client := running(t)
	healthy, err := client.Healthy(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	same(t, true, healthy)
	for _, task := range []semservev1.Task{
		semservev1.Task_TASK_EMBEDDING, semservev1.Task_TASK_CLASSIFICATION,
	} {
		info := defaultOf(t, client, task)
		described, err := client.Model(t.Context(), info.GetName())
		if err != nil {
			t.Fatal(err)
		}
		sameMessage(t, info, described)
	}
}

func TestServerEmbedsAloneAndInAStreamAlike(t *testing.T) {
	client := running(t)
	texts := []string{"The cat sits on the mat.", "Bread is baked here.", "It rains."}
	unary, err := client.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	info := defaultOf(t, client, semservev1.Task_TASK_EMBEDDING)
	same(t, info.GetName(), unary.Model)
	same(t, int(info.GetDimensions()), len(unary.Results[0].Vector))
	alone := map[string][]float32{}
	for i, text := range texts {
		alone[text] = unary.Results[i].Vector
	}
	answers, err := collect(client.StreamEmbed(t.Context(), requests(texts...)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, len(texts), len(answers))
	for _, answer := range answers {
		if answer.Err != nil {
			t.Fatal(answer.Err)
		}
		closeTo(t, alone[answer.ID], answer.Result.Results[0].Vector, 1e-5)
	}
}

func TestServerSpeaksEveryEncoding(t *testing.T) {
	client := running(t)
	texts := []string{"The cat sits on the mat."}
	unit := semserve.WithNormalize(true)
	want, err := client.Embed(t.Context(), texts, unit)
	if err != nil {
		t.Fatal(err)
	}
	// No value of a unit vector is above 1: half precision is off by at most 2^-12, and int8 by
	// half of 1/127.
	for encoding, tolerance := range map[semserve.Encoding]float64{
		semserve.EncodingFloat32: 1e-5, semserve.EncodingFloat16: 2.6e-4, semserve.EncodingInt8: 4e-3,
	} {
		got, err := client.Embed(t.Context(), texts, unit, semserve.WithEncoding(encoding))
		if err != nil {
			t.Fatal(err)
		}
		closeTo(t, want.Results[0].Vector, got.Results[0].Vector, tolerance)
	}
}

func TestServerClassifiesByItsLabels(t *testing.T) {
	client := running(t)
	info := defaultOf(t, client, semservev1.Task_TASK_CLASSIFICATION)
	answer, err := client.Classify(t.Context(), []semserve.ClassifyPair{
		{Premise: "The ferry leaves at noon.", Hypothesis: "A boat departs at midday."},
	})
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	var labels []string
	for _, score := range answer.Results[0].Scores {
		labels = append(labels, score.Label)
		sum += float64(score.Score)
	}
	same(t, info.GetLabels(), labels)
	if math.Abs(sum-1) > 1e-5 {
		t.Errorf("the scores sum to %v", sum)
	}
}

func TestServerScoresAsItsVectorsDo(t *testing.T) {
	client := running(t)
	texts := []string{"The cat sits on the mat.", "A kitten rests on the rug.", "It rains."}
	embedded, err := client.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	vectors := embedded.Vectors()
	cosine := semserve.WithMetric(semserve.MetricCosine)
	pairs := []semserve.ComparePair{{Left: texts[0], Right: texts[1]}}
	compared, err := client.Compare(t.Context(), pairs, cosine)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, []float32{float32(semserve.Cosine(vectors[0], vectors[1]))}, compared.Scores, 1e-5)
	crossed, err := client.Matrix(t.Context(), texts[:1], texts, cosine)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, compared.Scores, crossed.Scores[0][1:2], 1e-5)
	ranked, err := client.Rank(t.Context(), texts[0], texts, semserve.WithTopK(1), cosine)
	if err != nil {
		t.Fatal(err)
	}
	same(t, 1, len(ranked.Scores))
	same(t, 0, ranked.Scores[0].Index) // nothing is closer to a text than itself
	found, err := client.Search(t.Context(), texts[:2], texts, semserve.WithTopK(2), cosine)
	if err != nil {
		t.Fatal(err)
	}
	same(t, 1, found.Scores[1][0].Index)
}

func TestServerReadsSeparatorsAsText(t *testing.T) {
	tokens, err := running(t).Tokenize(t.Context(), []string{"[SEP]", "plain"})
	if err != nil {
		t.Fatal(err)
	}
	// Read as text it is three tokens at least, between the two that every text gets.
	if got := tokens[0].GetTokens(); len(got) < 5 {
		t.Errorf("[SEP] was read as %q", got)
	}
}

func TestServerAnswersNinetyNineOfAHundred(t *testing.T) {
	texts := make([]string, 100)
	for i := range texts {
		texts[i] = "sentence number " + strconv.Itoa(i)
	}
	texts[50] = ""
	var good int
	for answer, err := range running(t).StreamEmbed(t.Context(), requests(texts...)) {
		if err != nil {
			t.Fatal(err)
		}
		if answer.ID != "" {
			same(t, nil, answer.Err)
			good++
			continue
		}
		var failed *semserve.Error
		if !errors.As(answer.Err, &failed) {
			t.Fatalf("the empty text was answered with %v", answer.Err)
		}
		same(t, codes.InvalidArgument, failed.Code)
		same(t, "texts[0]", failed.Violations[0].Field)
	}
	same(t, 99, good)
}

func TestServerNamesWhatItRefuses(t *testing.T) {
	client := running(t)
	_, err := client.Embed(t.Context(), []string{"good", "", "nul \x00"})
	var failed *semserve.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v is no *semserve.Error", err)
	}
	same(t, codes.InvalidArgument, failed.Code)
	var fields []string
	for _, violation := range failed.Violations {
		fields = append(fields, violation.Field)
	}
	same(t, []string{"texts[1]", "texts[2]"}, fields)
	_, err = client.Embed(t.Context(), []string{"a"}, semserve.WithModel("absent"))
	same(t, codes.NotFound, status.Code(err))
}

// running connects to the running server, or skips the test.
func running(t *testing.T) *semserve.Client {
	t.Helper()
	address := os.Getenv("SEMSERVE_ADDRESS")
	if address == "" {
		t.Skip("SEMSERVE_ADDRESS tells no running server")
	}
	return connect(t, address, secured(t)...)
}

// secured connects as a server with TLS and keys wants it, where SEMSERVE_TLS_CA and SEMSERVE_KEY
// tell of one.
func secured(t *testing.T) []semserve.Option {
	t.Helper()
	options := []semserve.Option{semserve.WithKey(os.Getenv("SEMSERVE_KEY"))}
	if ca := os.Getenv("SEMSERVE_TLS_CA"); ca != "" {
		trusted, err := credentials.NewClientTLSFromFile(ca, "")
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, semserve.WithCredentials(trusted))
	}
	return options
}

func defaultOf(t *testing.T, client *semserve.Client, task semservev1.Task) *semserve.ModelInfo {
	t.Helper()
	models, err := client.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range models {
		if model.GetTask() == task && model.GetIsDefault() {
			return model
		}
	}
	t.Fatalf("no default for %s among %v", task, models)
	return nil
}

func closeTo(t *testing.T, want, got []float32, tolerance float64) {
	t.Helper()
	if len(want) == 0 || len(want) != len(got) {
		t.Fatalf("want %d values, got %d", len(want), len(got))
	}
	for i := range want {
		if difference := math.Abs(float64(want[i]) - float64(got[i])); !(difference <= tolerance) {
			t.Errorf("value %d: want %v, got %v", i, want[i], got[i])
		}
	}
}

package semserve_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestModelsAreListedAndDescribed(t *testing.T) {
	client := new(answering).dial(t)
	models, err := client.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, 2, len(models))
	model, err := client.Model(t.Context(), "words")
	if err != nil {
		t.Fatal(err)
	}
	same(t, models[1].GetName(), model.GetName())
}

func TestAModelThatIsNotThereIsNotFound(t *testing.T) {
	client := new(answering).dial(t)
	_, err := client.Model(t.Context(), "absent")
	same(t, codes.NotFound, status.Code(err))
	_, err = client.Healthy(t.Context(), "absent")
	same(t, codes.NotFound, status.Code(err))
}

func TestAModelIsLoadedAndUnloadedByName(t *testing.T) {
	client := new(answering).dial(t)
	model, err := client.LoadModel(t.Context(), "words")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "words", model.GetName())
	if err := client.UnloadModel(t.Context(), "words"); err != nil {
		t.Fatal(err)
	}
	_, err = client.LoadModel(t.Context(), "absent")
	same(t, codes.NotFound, status.Code(err))
	same(t, codes.NotFound, status.Code(client.UnloadModel(t.Context(), "absent")))
}

func TestTokenizeShowsTheTokensOfEachText(t *testing.T) {
	texts, err := new(answering).dial(t).Tokenize(t.Context(), []string{"two words", "one"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, []string{"two", "words"}, texts[0].GetTokens())
	same(t, []string{"one"}, texts[1].GetTokens())
}

func TestHealthyTellsWarmFromWarming(t *testing.T) {
	client := new(answering).dial(t)
	for service, want := range map[string]bool{"": true, "warming": false} {
		got, err := client.Healthy(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		same(t, want, got)
	}
}

package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	semserve "github.com/semserve/semserve/clients/go"
)

func (r runner) sameEmbeddings(expect expected, found *semserve.Embeddings) error {
	var counts, truncated []int
	var errs []error
	for _, result := range found.Results {
		counts, truncated = append(counts, result.TokenCount), append(truncated, result.TruncatedTokens)
		errs = append(errs, result.Err)
	}
	err := sameErrors(expect, errs)
	if expect.Each != nil {
		err = errors.Join(err, r.sameRows(slices.Repeat([][]float64{expect.Each}, expect.Count), found.Vectors()))
	}
	if expect.Vectors != nil {
		err = errors.Join(err, r.sameRows(expect.Vectors, found.Vectors()))
	}
	if expect.Model != nil {
		err = errors.Join(err, equal("model", *expect.Model, found.Model))
	}
	if expect.TokenCounts != nil {
		err = errors.Join(err, equal("token counts", expect.TokenCounts, counts))
	}
	if expect.TruncatedTokens != nil {
		err = errors.Join(err, equal("truncated tokens", expect.TruncatedTokens, truncated))
	}
	if expect.UsageTokenCount != nil {
		err = errors.Join(err, equal("usage", *expect.UsageTokenCount, found.Usage.TokenCount))
	}
	return err
}

func (r runner) sameClassifications(expect expected, found *semserve.Classifications) error {
	var scores, logits [][]float32
	var classes []string
	var errs []error
	for place, result := range found.Results {
		var row []float32
		for _, each := range result.Scores {
			row = append(row, each.Score)
			if place == 0 {
				classes = append(classes, each.Label)
			}
		}
		scores, logits, errs = append(scores, row), append(logits, result.Logits), append(errs, result.Err)
	}
	err := sameErrors(expect, errs)
	for place, label := range expect.Labels {
		if label != nil {
			err = errors.Join(err, equal("label", *label, found.Results[place].Label))
		}
	}
	if expect.Model != nil {
		err = errors.Join(err, equal("model", *expect.Model, found.Model))
	}
	if expect.Classes != nil {
		err = errors.Join(err, equal("classes", expect.Classes, classes))
	}
	if expect.Scores != nil {
		err = errors.Join(err, r.sameRows(expect.Scores, scores))
	}
	if expect.Logits != nil {
		err = errors.Join(err, r.sameRows(expect.Logits, logits))
	}
	return err
}

// sameTotals compares what an answer with scores tells about all its texts.
func sameTotals[T any](expect expected, found *semserve.Scored[T]) (err error) {
	if expect.Model != nil {
		err = equal("model", *expect.Model, found.Model)
	}
	if expect.UsageTokenCount != nil {
		err = errors.Join(err, equal("usage", *expect.UsageTokenCount, found.Usage.TokenCount))
	}
	if expect.AllTruncatedTokens != nil {
		err = errors.Join(err, equal("truncated tokens", *expect.AllTruncatedTokens, found.TruncatedTokens))
	}
	return err
}

func (r runner) sameHits(expect [][2]float64, found []semserve.Hit) error {
	err := equal("number of hits", len(expect), len(found))
	for place := range min(len(expect), len(found)) {
		err = errors.Join(
			err, equal("index", int(expect[place][0]), found[place].Index),
			r.same(expect[place][1:], []float32{found[place].Score}),
		)
	}
	return err
}

func (r runner) sameRows(expect [][]float64, found [][]float32) error {
	err := equal("number of rows", len(expect), len(found))
	for place := range min(len(expect), len(found)) {
		err = errors.Join(err, r.same(expect[place], found[place]))
	}
	return err
}

func (r runner) same(expect []float64, found []float32) error {
	if len(expect) != len(found) {
		return fmt.Errorf("expected %v, found %v", expect, found)
	}
	for place := range expect {
		if !(math.Abs(expect[place]-float64(found[place])) <= r.Expect.Tolerance) {
			return fmt.Errorf("expected %v, found %v", expect, found)
		}
	}
	return nil
}

func sameModels(expect []map[string]any, found []*semserve.ModelInfo) error {
	err := equal("number of models", len(expect), len(found))
	for place := range min(len(expect), len(found)) {
		model := found[place]
		read := map[string]any{
			"name": model.GetName(), "dimensions": float64(model.GetDimensions()),
			"task":                strings.ToLower(strings.TrimPrefix(model.GetTask().String(), "TASK_")),
			"max_sequence_length": float64(model.GetMaxSequenceLength()), "takes_pairs": model.GetTakesPairs(),
			"labels": []any{}, "sides": []any{}, "prompts": map[string]any{},
			"state":          strings.ToLower(strings.TrimPrefix(model.GetState().String(), "MODEL_STATE_")),
			"scores":         strings.ToLower(strings.TrimPrefix(model.GetScores().String(), "SCORE_FUNCTION_")),
			"default_prompt": model.GetDefaultPrompt(),
		}
		for name, prompt := range model.GetPrompts() {
			read["prompts"].(map[string]any)[name] = prompt
		}
		for _, side := range model.GetSides() {
			read["sides"] = append(read["sides"].([]any), strings.ToLower(strings.TrimPrefix(side.String(), "SIDE_")))
		}
		for _, label := range model.GetLabels() {
			read["labels"] = append(read["labels"].([]any), label)
		}
		for name, value := range expect[place] {
			err = errors.Join(err, equal(name, value, read[name]))
		}
	}
	return err
}

func sameErrors(expect expected, found []error) error {
	for place, each := range found {
		wanted, bad := expect.Errors[strconv.Itoa(place)]
		if err := equal(fmt.Sprintf("error %d", place), bad, each != nil); err != nil {
			return err
		}
		if bad {
			if err := sameError(wanted, each); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameError(expect failure, found error) error {
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(strconv.Quote(expect.Code))); err != nil {
		return err
	}
	var failed *semserve.Error
	if !errors.As(found, &failed) || failed.Code != code {
		return fmt.Errorf("expected %v, found %v", expect, found)
	}
	if expect.Fields != nil {
		fields := []string{}
		for _, violation := range failed.Violations {
			fields = append(fields, violation.Field)
		}
		return equal("fields", expect.Fields, fields)
	}
	if expect.RetryAfterS != nil {
		seconds := failed.RetryAfter.Seconds()
		if seconds < expect.RetryAfterS[0] || seconds > expect.RetryAfterS[1] {
			return fmt.Errorf("retry after %g s, not %v", seconds, expect.RetryAfterS)
		}
	}
	return nil
}

func equal(name string, expect, found any) error {
	if !reflect.DeepEqual(expect, found) {
		return fmt.Errorf("%s: expected %v, found %v", name, expect, found)
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	semserve "github.com/semserve/semserve/clients/go"
)

func (r runner) sparse(ctx context.Context) error {
	var options []semserve.SparseOption
	if r.Given.TopK != nil {
		options = append(options, semserve.WithTopK(*r.Given.TopK))
	}
	if r.Given.Tokens {
		options = append(options, semserve.WithTokens())
	}
	if r.Given.Partial {
		options = append(options, semserve.WithPartial())
	}
	var expected []*struct {
		Indices []uint32
		Values  []float64
		Tokens  []string
	}
	if err := json.Unmarshal(r.Expect.Results, &expected); err != nil {
		return err
	}
	found, err := r.client.EmbedSparse(ctx, r.Given.Texts, options...)
	if err != nil {
		return err
	}
	if err := equal("number of results", len(expected), len(found.Results)); err != nil {
		return err
	}
	var errs []error
	for place, result := range found.Results {
		errs = append(errs, result.Err)
		if each := expected[place]; each != nil {
			err = errors.Join(
				err, equal("indices", each.Indices, result.Indices), r.same(each.Values, result.Values),
				equal("tokens", each.Tokens, result.Tokens),
			)
		}
	}
	return errors.Join(err, sameErrors(r.Expect, errs))
}

func (r runner) score(ctx context.Context) error {
	var options []semserve.ScoringOption
	for _, option := range modelOptions(r.Given) {
		options = append(options, option)
	}
	if r.Given.Partial {
		options = append(options, semserve.WithPartial())
	}
	var found *semserve.PairScores
	var err error
	if r.Given.Pairs == nil {
		found, err = r.client.ScoreTexts(ctx, r.Given.Texts, options...)
	} else {
		var pairs []semserve.ScorePair
		for _, pair := range r.Given.Pairs {
			pairs = append(pairs, semserve.ScorePair{Left: pair[0], Right: pair[1]})
		}
		found, err = r.client.ScorePairs(ctx, pairs, options...)
	}
	if err != nil {
		return err
	}
	expected := r.Expect.Scores[0]
	if err := equal("number of scores", len(expected), len(found.Scores)); err != nil {
		return err
	}
	var errs []error
	for place, score := range found.Scores {
		errs = append(errs, found.Errs[place])
		if found.Errs[place] == nil {
			err = errors.Join(err, r.same(expected[place:place+1], []float32{score}))
		} else {
			err = errors.Join(err, equal("absent", true, score != score)) // NaN alone differs from itself
		}
	}
	return errors.Join(err, sameErrors(r.Expect, errs))
}

func sameServer(expect expected, found *semserve.ServerInfo) error {
	limits, defaults := map[string]int64{}, map[string]string{}
	fields := found.GetLimits().ProtoReflect()
	for name := range expect.Limits {
		field := fields.Descriptor().Fields().ByName(protoreflect.Name(name))
		limits[name] = fields.Get(field).Int()
	}
	for _, each := range found.GetDefaultModels() {
		defaults[strings.ToLower(strings.TrimPrefix(each.GetTask().String(), "TASK_"))] = each.GetModel()
	}
	return errors.Join(
		equal("limits", expect.Limits, limits), equal("default models", expect.DefaultModels, defaults),
		equal("default top k", expect.DefaultTopK, found.GetDefaultTopK()),
		equal("model control", expect.AllowModelControl, found.GetAllowModelControl()),
	)
}

func (r runner) search(ctx context.Context) error {
	var expected [][][2]float64
	if err := json.Unmarshal(r.Expect.Results, &expected); err != nil {
		return err
	}
	found, err := r.client.Search(ctx, r.Given.Queries, r.Given.Corpus, rankOptions(r.Given)...)
	if err != nil {
		return err
	}
	err = equal("number of results", len(expected), len(found.Scores))
	for place := range min(len(expected), len(found.Scores)) {
		err = errors.Join(err, r.sameHits(expected[place], found.Scores[place]))
	}
	return errors.Join(err, sameTotals(r.Expect, found))
}

func (r runner) matrix(ctx context.Context) error {
	found, err := r.client.Matrix(ctx, r.Given.Left, r.Given.Right, compareOptions(r.Given)...)
	if err != nil {
		return err
	}
	expected := r.Expect.Rows
	if expected == nil {
		expected = slices.Repeat([][]float64{slices.Repeat([]float64{r.Expect.EachScore}, r.Expect.Count)}, r.Expect.Count)
	}
	return errors.Join(r.sameRows(expected, found.Scores), sameTotals(r.Expect, found))
}

func (r runner) tokenize(ctx context.Context) error {
	var expected []struct {
		Tokens            []string
		IDs, Starts, Ends []int32
		TruncatedTokens   int32 `json:"truncated_tokens"`
	}
	found, err := r.client.Tokenize(ctx, r.Given.Texts, modelOptions(r.Given)...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(r.Expect.Results, &expected); err != nil {
		return err
	}
	err = equal("number of results", len(expected), len(found))
	for place, each := range expected {
		read := found[place]
		err = errors.Join(
			err, equal("tokens", each.Tokens, read.GetTokens()), equal("ids", each.IDs, read.GetIds()),
			equal("starts", each.Starts, read.GetStarts()), equal("ends", each.Ends, read.GetEnds()),
			equal("truncated", each.TruncatedTokens, read.GetTruncatedTokens()),
		)
	}
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"

	semserve "github.com/semserve/semserve/clients/go"
)

// source generates requests, and counts how far they are read ahead of the answers taken.
type source struct {
	generate
	taken, ahead atomic.Int64
}

func (s *source) requests(yield func(semserve.Request[string]) bool) {
	for place := range s.Count {
		s.ahead.Store(max(s.ahead.Load(), int64(place+1)-s.taken.Load()))
		request := semserve.Request[string]{ID: strconv.Itoa(place), Items: []string{s.Texts[place%len(s.Texts)]}}
		if !yield(request) {
			return
		}
	}
}

func (r runner) generated(ctx context.Context) error {
	read := &source{generate: *r.Given.Generate}
	seen := map[string]bool{}
	for answer, err := range r.client.StreamEmbed(ctx, read.requests, r.embedOptions()...) {
		if err != nil {
			return err
		}
		read.taken.Add(1)
		seen[answer.ID] = true
		if err := r.sameGenerated(answer); err != nil {
			return err
		}
		if len(seen) == r.Given.LeaveAfter {
			break
		}
	}
	if ahead := read.ahead.Load(); ahead > int64(r.Expect.MaxAhead) {
		return fmt.Errorf("%d requests ahead, not %d", ahead, r.Expect.MaxAhead)
	}
	if r.Given.LeaveAfter > 0 {
		_, err := r.client.Embed(ctx, r.Given.Generate.Texts[:1])
		return errors.Join(err, equal("answered", r.Given.LeaveAfter, len(seen)))
	}
	return equal("answered", r.Expect.Count, len(seen))
}

func (r runner) sameGenerated(answer semserve.Answer[semserve.Embeddings]) error {
	if answer.Err != nil {
		return answer.Err
	}
	place, err := strconv.Atoi(answer.ID)
	if err != nil {
		return err
	}
	return r.same(r.Expect.Vectors[place%len(r.Expect.Vectors)], answer.Result.Results[0].Vector)
}

func sameAnswers[Result any](
	answers iter.Seq2[semserve.Answer[Result], error], expect expected, same func(expected, *Result) error,
) error {
	seen := map[string]bool{}
	for answer, err := range answers {
		if err != nil {
			return err
		}
		if seen[answer.ID] {
			return fmt.Errorf("request %q was answered twice", answer.ID)
		}
		seen[answer.ID] = true
		each := expect.Answers[answer.ID]
		switch {
		case each.Error != nil:
			err = sameError(*each.Error, answer.Err)
		case answer.Err != nil:
			err = answer.Err
		default:
			err = same(each, answer.Result)
		}
		if err != nil {
			return err
		}
	}
	return equal("answered", slices.Sorted(maps.Keys(expect.Answers)), slices.Sorted(maps.Keys(seen)))
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

// runner runs one case.
type runner struct {
	testCase
	client *semserve.Client
}

func run(each testCase, servers map[string]string) error {
	if each.Call == "connect" {
		return refuses(each.Given)
	}
	client, err := connect(each, servers)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if each.Given.TimeoutS > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(each.Given.TimeoutS*float64(time.Second)))
		defer cancel()
	}
	if each.Given.Cancel {
		time.AfterFunc(time.Millisecond, cancel)
		each.Expect.Error = &failure{Code: "CANCELLED"}
	}
	err = runner{each, client}.ask(ctx)
	if each.Expect.Error != nil {
		return sameError(*each.Expect.Error, err)
	}
	return err
}

func connect(each testCase, servers map[string]string) (*semserve.Client, error) {
	var options []semserve.Option
	if each.Server == "secured" {
		trusted, err := credentials.NewClientTLSFromFile(os.Getenv("SEMSERVE_TLS_CA"), "")
		if err != nil {
			return nil, err
		}
		key := os.Getenv("SEMSERVE_KEY")
		if each.Given.Key != nil {
			key = *each.Given.Key
		}
		options = append(options, semserve.WithCredentials(trusted), semserve.WithKey(key))
	}
	if each.Given.InFlight != nil {
		options = append(options, semserve.WithInFlight(*each.Given.InFlight))
	}
	names := strings.Split(each.Server, "+")
	if len(names) == 1 {
		return semserve.New(servers[names[0]], options...)
	}
	both := manual.NewBuilderWithScheme("cases")
	var addresses []resolver.Address
	for _, name := range names {
		addresses = append(addresses, resolver.Address{Addr: servers[name]})
	}
	both.InitialState(resolver.State{Addresses: addresses})
	return semserve.New("cases:///both", append(options, semserve.WithDialOptions(grpc.WithResolvers(both)))...)
}

func refuses(given given) error {
	address, key := "127.0.0.1:50051", ""
	if given.Address != "" {
		address = given.Address
	}
	if given.Key != nil {
		key = *given.Key
	}
	client, err := semserve.New(address, semserve.WithKey(key))
	if err == nil {
		return errors.Join(errors.New("a client was made"), client.Close())
	}
	return nil
}

func (r runner) ask(ctx context.Context) error {
	given, expect := r.Given, r.Expect
	switch r.Call {
	case "embed":
		found, err := r.client.Embed(ctx, given.Texts, r.embedOptions()...)
		if err != nil {
			return err
		}
		return r.sameEmbeddings(expect, found)
	case "classify":
		found, err := r.client.Classify(ctx, pairs(given.Pairs), r.classifyOptions()...)
		if err != nil {
			return err
		}
		return r.sameClassifications(expect, found)
	case "compare":
		var compared []semserve.ComparePair
		for _, pair := range given.Pairs {
			compared = append(compared, semserve.ComparePair{Left: pair[0], Right: pair[1]})
		}
		found, err := r.client.Compare(ctx, compared, compareOptions(given)...)
		if err != nil {
			return err
		}
		return r.same(expect.Scores[0], found)
	case "rank":
		found, err := r.client.Rank(ctx, given.Query, given.Documents, rankOptions(given)...)
		if err != nil {
			return err
		}
		return r.sameHits(expect.Hits, found)
	case "search":
		return r.search(ctx)
	case "matrix":
		return r.matrix(ctx)
	case "models":
		found, err := r.client.Models(ctx)
		return errors.Join(err, sameModels(expect.Models, found))
	case "model":
		found, err := r.client.Model(ctx, given.Model)
		if err != nil {
			return err
		}
		return sameModels(expect.Models, []*semserve.ModelInfo{found})
	case "load_model":
		_, err := r.client.LoadModel(ctx, given.Model)
		return err
	case "tokenize":
		return r.tokenize(ctx)
	case "health":
		serving, err := r.client.Healthy(ctx, given.Model)
		if err != nil {
			return err
		}
		return equal("serving", expect.Serving, serving)
	case "stream_embed":
		if given.Generate != nil {
			return r.generated(ctx)
		}
		requests := func(yield func(semserve.Request[string]) bool) {
			for _, each := range given.Requests {
				if !yield(semserve.Request[string]{ID: each.ID, Items: each.Texts}) {
					return
				}
			}
		}
		return sameAnswers(r.client.StreamEmbed(ctx, requests, r.embedOptions()...), expect, r.sameEmbeddings)
	case "stream_classify":
		requests := func(yield func(semserve.Request[semserve.ClassifyPair]) bool) {
			for _, each := range given.Requests {
				if !yield(semserve.Request[semserve.ClassifyPair]{ID: each.ID, Items: pairs(each.Pairs)}) {
					return
				}
			}
		}
		return sameAnswers(r.client.StreamClassify(ctx, requests, r.classifyOptions()...), expect, r.sameClassifications)
	case "failover_calls":
		return r.failoverCalls(ctx)
	case "failover_streams":
		return r.failoverStreams(ctx)
	default:
		return fmt.Errorf("no such call: %s", r.Call)
	}
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
	err = equal("number of results", len(expected), len(found))
	for place := range min(len(expected), len(found)) {
		err = errors.Join(err, r.sameHits(expected[place], found[place]))
	}
	return err
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
	return r.sameRows(expected, found)
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

func (r runner) failoverCalls(ctx context.Context) error {
	if err := r.warm(ctx); err != nil {
		return err
	}
	halt, next := r.stop(), new(atomic.Int64)
	err := r.sideBySide(func() error {
		for place := int(next.Add(1)) - 1; place < r.Given.Count; place = int(next.Add(1)) - 1 {
			found, err := r.client.Embed(ctx, []string{r.Given.Texts[place%len(r.Given.Texts)]})
			if err != nil {
				return err
			}
			if err := r.same(r.Expect.Vectors[place%len(r.Expect.Vectors)], found.Results[0].Vector); err != nil {
				return err
			}
			halt.answered()
		}
		return nil
	})
	return errors.Join(err, halt.done())
}

func (r runner) failoverStreams(ctx context.Context) error {
	if err := r.warm(ctx); err != nil {
		return err
	}
	halt := r.stop()
	err := r.sideBySide(func() error {
		read := &source{generate: generate{r.Given.Count, r.Given.Texts}}
		seen, answered := map[string]bool{}, 0
		for answer, err := range r.client.StreamEmbed(ctx, read.requests) {
			if err != nil {
				return err
			}
			if err := r.sameGenerated(answer); err != nil {
				return err
			}
			seen[answer.ID] = true
			answered++
			halt.answered()
		}
		return equal("answered", [2]int{r.Given.Count, r.Given.Count}, [2]int{answered, len(seen)})
	})
	return errors.Join(err, halt.done())
}

func (r runner) warm(ctx context.Context) error {
	for range 20 {
		if _, err := r.client.Embed(ctx, r.Given.Texts[:1]); err != nil {
			return err
		}
	}
	return nil
}

func (r runner) sideBySide(work func() error) error {
	var group sync.WaitGroup
	failed := make([]error, r.Given.AtOnce)
	for worker := range r.Given.AtOnce {
		group.Add(1)
		go func() {
			defer group.Done()
			failed[worker] = work()
		}()
	}
	group.Wait()
	return errors.Join(failed...)
}

// stop has a server killed once there were so many answers, while calls go on.
type stop struct {
	given   given
	count   atomic.Int64
	stopped chan string
}

func (r runner) stop() *stop {
	return &stop{given: r.Given, stopped: make(chan string, 1)}
}

func (s *stop) answered() {
	if s.count.Add(1) == int64(s.given.StopAfter) {
		fmt.Println("stop", s.given.Stop)
		go func() {
			input.Scan()
			s.stopped <- input.Text()
		}()
	}
}

func (s *stop) done() error {
	if s.count.Load() < int64(s.given.StopAfter) {
		return errors.New("there were too few answers to stop a server")
	}
	return equal("the server", "stopped "+s.given.Stop, <-s.stopped)
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
			"labels": []any{},
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

func (r runner) embedOptions() []semserve.EmbedOption {
	var options []semserve.EmbedOption
	for _, option := range r.classifyOptions() {
		options = append(options, option.(semserve.EmbedOption))
	}
	if r.Given.Normalize != nil {
		options = append(options, semserve.WithNormalize(*r.Given.Normalize))
	}
	if r.Given.Dimensions != nil {
		options = append(options, semserve.WithDimensions(*r.Given.Dimensions))
	}
	if r.Given.Encoding != "" {
		number := semservev1.VectorEncoding_value["VECTOR_ENCODING_"+strings.ToUpper(r.Given.Encoding)]
		options = append(options, semserve.WithEncoding(semserve.Encoding(number)))
	}
	return options
}

func (r runner) classifyOptions() []semserve.ClassifyOption {
	var options []semserve.ClassifyOption
	for _, option := range modelOptions(r.Given) {
		options = append(options, option)
	}
	if r.Given.Truncation != "" {
		number := semservev1.Truncation_value["TRUNCATION_"+strings.ToUpper(r.Given.Truncation)]
		options = append(options, semserve.WithTruncation(semserve.Truncation(number)))
	}
	if r.Given.Partial {
		options = append(options, semserve.WithPartial())
	}
	return options
}

func modelOptions(given given) []semserve.ModelOption {
	if given.Model == "" {
		return nil
	}
	return []semserve.ModelOption{semserve.WithModel(given.Model)}
}

func compareOptions(given given) []semserve.CompareOption {
	if given.Metric == "" {
		return nil
	}
	number := semservev1.Metric_value["METRIC_"+strings.ToUpper(given.Metric)]
	return []semserve.CompareOption{semserve.WithMetric(semserve.Metric(number))}
}

func rankOptions(given given) []semserve.RankOption {
	var options []semserve.RankOption
	for _, option := range compareOptions(given) {
		options = append(options, option.(semserve.RankOption))
	}
	if given.TopK != nil {
		options = append(options, semserve.WithTopK(*given.TopK))
	}
	return options
}

func pairs(given [][]string) []semserve.ClassifyPair {
	made := make([]semserve.ClassifyPair, len(given))
	for place, each := range given {
		made[place].Premise = each[0]
		if len(each) > 1 {
			made[place].Hypothesis = each[1]
		}
	}
	return made
}

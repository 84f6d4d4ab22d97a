package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	semserve "github.com/semserve/semserve/clients/go"
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
		return errors.Join(r.same(expect.Scores[0], found.Scores), sameTotals(expect, found))
	case "rank":
		found, err := r.client.Rank(ctx, given.Query, given.Documents, rankOptions(given)...)
		if err != nil {
			return err
		}
		return errors.Join(r.sameHits(expect.Hits, found.Scores), sameTotals(expect, found))
	case "search":
		return r.search(ctx)
	case "matrix":
		return r.matrix(ctx)
	case "embed_sparse":
		return r.sparse(ctx)
	case "score":
		return r.score(ctx)
	case "rerank":
		var options []semserve.RerankOption
		if given.TopK != nil {
			options = append(options, semserve.WithTopK(*given.TopK))
		}
		found, err := r.client.Rerank(ctx, given.Query, given.Documents, options...)
		if err != nil {
			return err
		}
		return errors.Join(r.sameHits(expect.Hits, found.Scores), sameTotals(expect, found))
	case "server_info":
		found, err := r.client.ServerInfo(ctx)
		if err != nil {
			return err
		}
		return sameServer(expect, found)
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

// The sample embeds two sentences, classifies a pair, streams ten requests of which one is bad, and
// prints a last line `Go ok DIMENSIONS COSINE LABEL`.
//
//	go run ./sample [-address 127.0.0.1:50051]
//
// Answers of a stream come in any order: they are told on standard error as they come. The table
// on standard output has the order of the requests and is the same for the same model weights.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"strconv"
	"text/tabwriter"

	semserve "github.com/semserve/semserve/clients/go"
)

const question = "A cat is sitting on a mat."

var sentences = [10]string{
	"The cat sits on the mat.",
	"A kitten rests on the rug.",
	"The dog sleeps in the garden.",
	"She bought two loaves of bread.",
	"The bakery opens at seven.",
	"Trains to the coast leave every hour.",
	"", // the one that the server refuses
	"We took the night train to the sea.",
	"It rained for three days.",
	"The sun has not shone since Monday.",
}

func main() {
	address := flag.String("address", fallback("SEMSERVE_ADDRESS", "127.0.0.1:50051"),
		"the server's host:port; SEMSERVE_ADDRESS sets another default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *address, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string, output, log io.Writer) error {
	client, err := semserve.New(address)
	if err != nil {
		return err
	}
	defer client.Close() // the answers are in hand by then
	table := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	for _, part := range []func() error{
		func() error { return embed(ctx, client, table) },
		func() error { return classify(ctx, client, table) },
		func() error { return stream(ctx, client, table, log) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return summary(ctx, client, output)
}

func summary(ctx context.Context, client *semserve.Client, output io.Writer) error {
	embedded, err := client.Embed(ctx, []string{sentences[0], question})
	if err != nil {
		return err
	}
	vectors := embedded.Vectors()
	pair := semserve.ClassifyPair{Premise: "It is raining", Hypothesis: "It is sunny"}
	classified, err := client.Classify(ctx, []semserve.ClassifyPair{pair})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(output, "Go ok %d %.4f %s\n",
		len(vectors[0]), semserve.Cosine(vectors[0], vectors[1]), classified.Results[0].Label)
	return err
}

func embed(ctx context.Context, client *semserve.Client, table io.Writer) error {
	answer, err := client.Embed(ctx, []string{question, sentences[0]})
	if err != nil {
		return err
	}
	vectors := answer.Vectors()
	fmt.Fprintf(table, "cosine\t%.3f\t%s | %s\n",
		semserve.Cosine(vectors[0], vectors[1]), question, sentences[0])
	return nil
}

func classify(ctx context.Context, client *semserve.Client, table io.Writer) error {
	pair := semserve.ClassifyPair{
		Premise: "The ferry leaves at noon.", Hypothesis: "A boat departs at midday.",
	}
	answer, err := client.Classify(ctx, []semserve.ClassifyPair{pair})
	if err != nil {
		return err
	}
	for _, score := range answer.Results[0].Scores {
		fmt.Fprintf(table, "%s\t%.3f\t%s | %s\n",
			score.Label, score.Score, pair.Premise, pair.Hypothesis)
	}
	return nil
}

// stream embeds each sentence together with the question and shows their cosine.
func stream(ctx context.Context, client *semserve.Client, table, log io.Writer) error {
	var outcomes [len(sentences)]string
	for answer, err := range client.StreamEmbed(ctx, requests()) {
		if err != nil {
			return err
		}
		place, err := strconv.Atoi(answer.ID)
		if err != nil {
			return err
		}
		outcomes[place] = outcome(answer)
		fmt.Fprintf(log, "answer %s: %s\n", answer.ID, outcomes[place])
	}
	for place, outcome := range outcomes {
		fmt.Fprintf(table, "stream %d\t%s\t%s\n", place, outcome, sentences[place])
	}
	return nil
}

func requests() iter.Seq[semserve.Request[string]] {
	return func(yield func(semserve.Request[string]) bool) {
		for place, sentence := range sentences {
			request := semserve.Request[string]{
				ID: strconv.Itoa(place), Items: []string{question, sentence},
			}
			if !yield(request) {
				return
			}
		}
	}
}

func outcome(answer semserve.Answer[semserve.Embeddings]) string {
	var failed *semserve.Error
	if errors.As(answer.Err, &failed) {
		line := failed.Code.String()
		for _, violation := range failed.Violations {
			line += " " + violation.Field
		}
		return line
	}
	vectors := answer.Result.Vectors()
	return fmt.Sprintf("%.3f", semserve.Cosine(vectors[0], vectors[1]))
}

func fallback(variable, value string) string {
	if set := os.Getenv(variable); set != "" {
		return set
	}
	return value
}

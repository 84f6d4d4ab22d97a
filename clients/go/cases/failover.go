package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

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

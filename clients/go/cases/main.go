// Runs the table of cases that every client passes; tests/clients/CASES.md describes it.
//
//	go run ./cases CASES.JSON NAME=HOST:PORT …
//	go run ./cases bench HOST:PORT TEXTS
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	semserve "github.com/semserve/semserve/clients/go"
)

var input = bufio.NewScanner(os.Stdin)

func main() {
	var err error
	if os.Args[1] == "bench" {
		err = bench(os.Args[2], os.Args[3])
	} else {
		err = runAll(os.Args[1], os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runAll(path string, named []string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var table struct {
		Tolerance float64
		Cases     []testCase
	}
	if err := json.Unmarshal(content, &table); err != nil {
		return err
	}
	servers := map[string]string{}
	for _, each := range named {
		name, address, _ := strings.Cut(each, "=")
		servers[name] = address
	}
	failures := 0
	for _, each := range table.Cases {
		if each.Expect.Tolerance == 0 {
			each.Expect.Tolerance = table.Tolerance
		}
		if err := run(each, servers); err != nil {
			failures++
			fmt.Printf("FAILED %s: %s\n", each.Name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok", each.Name)
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d cases failed", failures)
	}
	return nil
}

const textsARequest = 32

// bench streams many texts as fast as the client can, in little memory.
func bench(address, number string) error {
	count, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	client, err := semserve.New(address)
	if err != nil {
		return err
	}
	defer client.Close()
	requests := func(yield func(semserve.Request[string]) bool) {
		for start := 0; start < count; start += textsARequest {
			var texts []string
			for text := start; text < min(start+textsARequest, count); text++ {
				texts = append(texts, fmt.Sprintf("text %d", text))
			}
			if !yield(semserve.Request[string]{ID: strconv.Itoa(start), Items: texts}) {
				return
			}
		}
	}
	started, answered := time.Now(), 0
	encoding := semserve.WithEncoding(semserve.EncodingFloat32)
	for answer, err := range client.StreamEmbed(context.Background(), requests, encoding) {
		if err != nil {
			return err
		}
		if answer.Err != nil {
			return answer.Err
		}
		answered += len(answer.Result.Vectors())
	}
	rate := float64(answered) / time.Since(started).Seconds()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, err := strconv.Atoi(strings.Fields(peak)[0])
	if err != nil {
		return err
	}
	fmt.Printf("Go %d texts %.0f texts/s %d MB\n", answered, rate, kilobytes>>10)
	return nil
}

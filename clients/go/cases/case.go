package main

import (
	"encoding/json"
	"strings"
)

// testCase is one case of the table, as CASES.md describes it.
type testCase struct {
	Name, Server, Call string
	Given              given
	Expect             expected
}

type given struct {
	Texts, Left, Right, Documents, Queries, Corpus texts
	Pairs                                          [][]string
	Query, Model, Address, Stop                    string
	Key                                            *string
	Truncation, Encoding, Metric, Side             string
	Prompt                                         *string
	RightPrompt                                    *string `json:"right_prompt"`
	DocumentPrompt                                 *string `json:"document_prompt"`
	Tokens                                         bool
	Normalize                                      *bool
	Dimensions                                     *int
	TopK                                           *int `json:"top_k"`
	InFlight                                       *int `json:"in_flight"`
	Partial, Cancel                                bool
	TimeoutS                                       float64 `json:"timeout_s"`
	Requests                                       []request
	Generate                                       *generate
	Count                                          int
	LeaveAfter                                     int `json:"leave_after"`
	AtOnce                                         int `json:"at_once"`
	StopAfter                                      int `json:"stop_after"`
}

type generate struct {
	Count int
	Texts []string
}

type request struct {
	ID    string
	Texts texts
	Pairs [][]string
}

type expected struct {
	Tolerance               float64
	Model                   *string
	Vectors, Scores, Logits rows
	TokenCounts             []int  `json:"token_counts"`
	TruncatedTokens         []int  `json:"truncated_tokens"`
	AllTruncatedTokens      *int   `json:"all_truncated_tokens"`
	UsageTokenCount         *int64 `json:"usage_token_count"`
	Count                   int
	MaxAhead                int `json:"max_ahead"`
	Each                    []float64
	EachScore               float64 `json:"each_score"`
	Labels                  []*string
	Classes                 []string
	Errors                  map[string]failure
	Error                   *failure
	Hits                    [][2]float64
	Results                 json.RawMessage
	Rows                    [][]float64
	Models                  []map[string]any
	Serving                 bool
	Limits                  map[string]int64
	DefaultModels           map[string]string `json:"default_models"`
	DefaultTopK             int32             `json:"default_top_k"`
	AllowModelControl       bool              `json:"allow_model_control"`
	Answers                 map[string]expected
}

type failure struct {
	Code        string
	Fields      []string
	RetryAfterS []float64 `json:"retry_after_s"`
}

// rows are vectors or scores; those of a failed text are nil. Compare has a single row.
type rows [][]float64

func (r *rows) UnmarshalJSON(content []byte) error {
	var one []float64
	if json.Unmarshal(content, &one) == nil && !strings.HasPrefix(string(content), "[null") {
		*r = rows{one}
		return nil
	}
	return json.Unmarshal(content, (*[][]float64)(r))
}

// texts holds strings, and objects that say how often a text is repeated and copied.
type texts []string

func (t *texts) UnmarshalJSON(content []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(content, &items); err != nil {
		return err
	}
	*t = texts{}
	for _, item := range items {
		one := struct {
			Text          string
			Times, Copies int
		}{Times: 1, Copies: 1}
		if err := json.Unmarshal(item, &one.Text); err != nil {
			if err := json.Unmarshal(item, &one); err != nil {
				return err
			}
		}
		for range one.Copies {
			*t = append(*t, strings.Repeat(one.Text, one.Times))
		}
	}
	return nil
}

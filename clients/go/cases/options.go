package main

import (
	"strings"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

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
	if r.Given.Prompt != nil {
		options = append(options, semserve.WithPrompt(*r.Given.Prompt))
	}
	if r.Given.Side != "" {
		number := semservev1.Side_value["SIDE_"+strings.ToUpper(r.Given.Side)]
		options = append(options, semserve.WithSide(semserve.Side(number)))
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
	var options []semserve.CompareOption
	for _, option := range scoreOptions(given) {
		options = append(options, option)
	}
	if given.RightPrompt != nil {
		options = append(options, semserve.WithRightPrompt(*given.RightPrompt))
	}
	return options
}

func rankOptions(given given) []semserve.RankOption {
	var options []semserve.RankOption
	for _, option := range scoreOptions(given) {
		options = append(options, option)
	}
	if given.TopK != nil {
		options = append(options, semserve.WithTopK(*given.TopK))
	}
	if given.DocumentPrompt != nil {
		options = append(options, semserve.WithDocumentPrompt(*given.DocumentPrompt))
	}
	return options
}

func scoreOptions(given given) []semserve.ScoreOption {
	var options []semserve.ScoreOption
	for _, option := range modelOptions(given) {
		options = append(options, option)
	}
	if given.Metric != "" {
		number := semservev1.Metric_value["METRIC_"+strings.ToUpper(given.Metric)]
		options = append(options, semserve.WithMetric(semserve.Metric(number)))
	}
	if given.Prompt != nil {
		options = append(options, semserve.WithPrompt(*given.Prompt))
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

package semserve

import (
	"math"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// EmbedOption changes what Embed and StreamEmbed ask for.
type EmbedOption interface {
	set(*settings)
	embeds()
}

// ClassifyOption changes what Classify and StreamClassify ask for.
type ClassifyOption interface {
	set(*settings)
	classifies()
}

// CompareOption changes what Compare and Matrix ask for.
type CompareOption interface {
	set(*settings)
	compares()
}

// RankOption changes what Rank and Search ask for.
type RankOption interface {
	set(*settings)
	ranks()
}

// SparseOption changes what EmbedSparse asks for.
type SparseOption interface {
	set(*settings)
	embedsSparsely()
}

// ScoringOption changes what ScorePairs and ScoreTexts ask for.
type ScoringOption interface {
	set(*settings)
	scores()
}

// RerankOption changes what Rerank asks for.
type RerankOption interface {
	set(*settings)
	reranks()
}

// ModelOption is an option of every call.
type ModelOption interface {
	TextOption
	ScoreOption
	RerankOption
}

// TextOption is an option of the calls that answer each text or pair by itself.
type TextOption interface {
	EmbedOption
	ClassifyOption
	SparseOption
	ScoringOption
}

// TruncationOption is an option of the calls that take a rule of truncation.
type TruncationOption interface {
	TextOption
	RerankOption
}

// PromptOption is an option of the calls that put a prompt before each text.
type PromptOption interface {
	EmbedOption
	SparseOption
	ScoreOption
}

// TopOption is an option of the calls that may answer with only the best of what they found.
type TopOption interface {
	RankOption
	RerankOption
	SparseOption
}

// ScoreOption is an option of the calls that score texts against each other.
type ScoreOption interface {
	CompareOption
	RankOption
}

// Metric is how two vectors make a score. Higher is always more similar.
type Metric = semservev1.Metric

// The metrics. A request that names none is scored by the model's own.
const (
	MetricCosine    = semservev1.Metric_METRIC_COSINE
	MetricDot       = semservev1.Metric_METRIC_DOT
	MetricEuclidean = semservev1.Metric_METRIC_EUCLIDEAN
	MetricManhattan = semservev1.Metric_METRIC_MANHATTAN
)

// Truncation says what happens to a text of more tokens than the model takes.
type Truncation = semservev1.Truncation

// The rules of truncation. A request that names none is truncated by the model's own.
const (
	TruncationEnd   = semservev1.Truncation_TRUNCATION_END
	TruncationStart = semservev1.Truncation_TRUNCATION_START
	TruncationNone  = semservev1.Truncation_TRUNCATION_NONE
)

// Encoding is the form in which vectors travel. They arrive as float32 in any case.
type Encoding = semservev1.VectorEncoding

// The encodings. EncodingFloat32 and the default are exact; the others are smaller and rounded.
const (
	EncodingFloat32 = semservev1.VectorEncoding_VECTOR_ENCODING_FLOAT32
	EncodingFloat16 = semservev1.VectorEncoding_VECTOR_ENCODING_FLOAT16
	EncodingInt8    = semservev1.VectorEncoding_VECTOR_ENCODING_INT8
)

// Side says which encoder reads a text, of a model with one encoder for each side.
type Side = semservev1.Side

// The sides: of the query or the left text, and of the document or the right text.
const (
	SideLeft  = semservev1.Side_SIDE_LEFT
	SideRight = semservev1.Side_SIDE_RIGHT
)

// WithModel names the model to ask. Without it the server's default for the task answers.
func WithModel(name string) ModelOption {
	return option(func(s *settings) { s.model = name })
}

// WithTruncation says what to do with texts of too many tokens.
func WithTruncation(rule Truncation) TruncationOption {
	return option(func(s *settings) { s.truncation = rule })
}

// WithPartial answers the good texts or pairs even where others are bad: the bad ones carry an Err
// of their own instead of failing the call.
func WithPartial() TextOption {
	return option(func(s *settings) { s.allowPartial = true })
}

// WithNormalize says whether to scale each vector to unit length. Without it the model's own way
// is kept.
func WithNormalize(normalize bool) EmbedOption {
	return option(func(s *settings) { s.normalize = &normalize })
}

// WithDimensions keeps only the first so many dimensions, for models trained to be cut.
func WithDimensions(dimensions int) EmbedOption {
	return option(func(s *settings) { s.dimensions = wire(dimensions) })
}

// WithEncoding chooses the form in which vectors travel.
func WithEncoding(encoding Encoding) EmbedOption {
	return option(func(s *settings) { s.encoding = encoding })
}

// WithMetric chooses how vectors make a score.
func WithMetric(metric Metric) ScoreOption {
	return option(func(s *settings) { s.metric = metric })
}

// WithTopK answers with only the best so many hits, or the largest so many weights of each text.
func WithTopK(most int) TopOption {
	return option(func(s *settings) { s.topK = wire(most) })
}

// WithPrompt names the prompt of the model that is put before each text; an empty name is no prompt.
// Without it the model's default prompt is put there, if it has one.
func WithPrompt(name string) PromptOption {
	return option(func(s *settings) { s.prompt = &name })
}

// WithRightPrompt names the prompt of the right texts, where it is another than that of [WithPrompt].
func WithRightPrompt(name string) CompareOption {
	return option(func(s *settings) { s.secondPrompt = &name })
}

// WithDocumentPrompt names the prompt of the documents or the corpus, where it is another than that
// of [WithPrompt].
func WithDocumentPrompt(name string) RankOption {
	return option(func(s *settings) { s.secondPrompt = &name })
}

// WithSide says which encoder reads the texts, of a model with one encoder for each side.
func WithSide(side Side) EmbedOption {
	return option(func(s *settings) { s.side = side })
}

// WithTokens answers also with the tokens of a sparse vector's indices.
func WithTokens() SparseOption {
	return option(func(s *settings) { s.tokens = true })
}

// settings is what the options of one call say; each request takes the fields that it has.
type settings struct {
	model        string
	truncation   Truncation
	allowPartial bool
	normalize    *bool
	dimensions   *int32
	encoding     Encoding
	metric       Metric
	topK         *int32
	prompt       *string
	secondPrompt *string
	side         Side
	tokens       bool
}

func settle[O interface{ set(*settings) }](options []O) settings {
	var settled settings
	for _, option := range options {
		option.set(&settled)
	}
	return settled
}

// option is every kind of option; the interfaces let each call accept only its own.
type option func(*settings)

func (o option) set(s *settings) { o(s) }
func (o option) embeds()         {}
func (o option) classifies()     {}
func (o option) compares()       {}
func (o option) ranks()          {}
func (o option) embedsSparsely() {}
func (o option) scores()         {}
func (o option) reranks()        {}

// wire keeps a number that does not fit the wire out of range rather than wrapped into it.
func wire(number int) *int32 {
	clamped := int32(max(math.MinInt32, min(number, math.MaxInt32)))
	return &clamped
}

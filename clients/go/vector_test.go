package semserve_test

import (
	"context"
	"encoding/binary"
	"math"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	semserve "github.com/semserve/semserve/clients/go"
	"github.com/semserve/semserve/clients/go/semservev1"
)

func TestEveryEncodingArrivesAsFloat32(t *testing.T) {
	for _, each := range []struct {
		name      string
		embedding *semservev1.Embedding
		want      []float32
	}{
		{"values", &semservev1.Embedding{Values: []float32{0.5, -2}}, []float32{0.5, -2}},
		{
			"float32",
			&semservev1.Embedding{Packed: []byte{0, 0, 0, 0x3f, 0, 0, 0, 0xc0}, Dimensions: 2},
			[]float32{0.5, -2},
		},
		{
			"float16",
			&semservev1.Embedding{Packed: []byte{0, 0x38, 0, 0xc0}, Dimensions: 2},
			[]float32{0.5, -2},
		},
		{
			"int8",
			&semservev1.Embedding{Packed: []byte{127, 0x81}, Dimensions: 2, Scale: proto.Float32(0.5)},
			[]float32{63.5, -63.5},
		},
	} {
		t.Run(each.name, func(t *testing.T) {
			answer, err := embeddingOf(each.embedding).dial(t).Embed(t.Context(), []string{"a"})
			if err != nil {
				t.Fatal(err)
			}
			same(t, each.want, answer.Results[0].Vector)
		})
	}
}

func TestAVectorThatDoesNotAddUpIsTheServersFault(t *testing.T) {
	client := embeddingOf(&semservev1.Embedding{Packed: []byte{1, 2, 3}, Dimensions: 2}).dial(t)
	_, err := client.Embed(t.Context(), []string{"a"})
	same(t, codes.Internal, status.Code(err))
}

func TestEveryFloat16IsWidenedExactly(t *testing.T) {
	packed := make([]byte, 0, 2<<16)
	for bits := range 1 << 16 {
		packed = binary.LittleEndian.AppendUint16(packed, uint16(bits))
	}
	client := embeddingOf(&semservev1.Embedding{Packed: packed, Dimensions: 1 << 16}).dial(t)
	answer, err := client.Embed(t.Context(), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	for bits, got := range answer.Results[0].Vector {
		want := binary16(bits)
		if math.IsNaN(want) && math.IsNaN(float64(got)) {
			continue
		}
		if want != float64(got) || math.Signbit(want) != math.Signbit(float64(got)) {
			t.Fatalf("%#04x: want %v, got %v", bits, want, got)
		}
	}
}

func TestAnAnswerOfManyVectorsFits(t *testing.T) {
	values := make([]float32, 2<<20) // 8 MiB, twice what gRPC takes by itself
	client := embeddingOf(&semservev1.Embedding{Values: values}).dial(t)
	answer, err := client.Embed(t.Context(), []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, len(values), len(answer.Results[0].Vector))
}

func TestCosineIsThatOfTheAngle(t *testing.T) {
	same(t, 1.0, semserve.Cosine([]float32{3, 4}, []float32{6, 8}))
	same(t, -1.0, semserve.Cosine([]float32{3, 4}, []float32{-3, -4}))
	same(t, 0.0, semserve.Cosine([]float32{3, 4}, []float32{-4, 3}))
	same(t, 0.0, semserve.Cosine([]float32{0, 0}, []float32{1, 0}))
}

func TestVectorsOfDifferentLengthHaveNoCosine(t *testing.T) {
	defer func() {
		same(t, "semserve: vectors of 1 and 2 dimensions have no cosine", recover())
	}()
	semserve.Cosine([]float32{1}, []float32{1, 2})
}

// binary16 computes a half's value by the definition of the format.
func binary16(bits int) float64 {
	sign, exponent, fraction := 1-2*float64(bits>>15), bits>>10&0x1f, float64(bits&0x3ff)
	switch {
	case exponent == 0x1f && fraction == 0:
		return math.Inf(int(sign))
	case exponent == 0x1f:
		return math.NaN()
	case exponent == 0:
		return math.Copysign(math.Ldexp(fraction, -24), sign)
	default:
		return sign * math.Ldexp(1024+fraction, exponent-25)
	}
}

// embeddingOf is a server that answers with the one embedding.
func embeddingOf(embedding *semservev1.Embedding) *answering {
	return &answering{embed: func(context.Context, *embedRequest) (*embedResponse, error) {
		return &embedResponse{Results: []*semservev1.EmbedResult{
			{Outcome: &semservev1.EmbedResult_Embedding{Embedding: embedding}},
		}}, nil
	}}
}

package semserve

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// Cosine is the cosine of the angle between two vectors of the same length, from -1 to 1; 0 where
// one of them is zero. It panics where the lengths differ.
func Cosine(left, right []float32) float64 {
	if len(left) != len(right) {
		panic(fmt.Sprintf("semserve: vectors of %d and %d dimensions have no cosine", len(left), len(right)))
	}
	var dot, leftSquare, rightSquare float64
	for i := range left {
		l, r := float64(left[i]), float64(right[i])
		dot += l * r
		leftSquare += l * l
		rightSquare += r * r
	}
	if leftSquare == 0 || rightSquare == 0 {
		return 0
	}
	return dot / math.Sqrt(leftSquare*rightSquare)
}

// unpack gives the values of an embedding in whatever form it travelled. The width of a value
// tells the form, so that an answer is read by itself, without its request.
func unpack(embedding *semservev1.Embedding) ([]float32, error) {
	packed := embedding.GetPacked()
	if len(packed) == 0 {
		return embedding.GetValues(), nil
	}
	vector := make([]float32, embedding.GetDimensions())
	switch len(packed) {
	case 4 * len(vector):
		for i := range vector {
			vector[i] = math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
		}
	case 2 * len(vector):
		for i := range vector {
			vector[i] = widen(binary.LittleEndian.Uint16(packed[2*i:]))
		}
	case len(vector):
		for i := range vector {
			vector[i] = embedding.GetScale() * float32(int8(packed[i]))
		}
	default:
		return nil, newError(status.Newf(codes.Internal,
			"the server packed %d dimensions into %d bytes", len(vector), len(packed)))
	}
	return vector, nil
}

// widen turns the bits of an IEEE 754 binary16 into the same number. There are three cases:
// infinity and NaN, whose exponent is all ones; zero and subnormal numbers, which have no hidden
// bit; and the rest, whose exponent moves from a bias of 15 to one of 127.
func widen(half uint16) float32 {
	sign := uint32(half&0x8000) << 16
	exponent := uint32(half>>10) & 0x1f
	fraction := uint32(half) & 0x3ff
	switch exponent {
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	case 0:
		magnitude := math.Float32bits(float32(fraction) * 0x1p-24)
		return math.Float32frombits(sign | magnitude)
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
	}
}

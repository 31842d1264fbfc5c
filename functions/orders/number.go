package orders

import (
	"crypto/sha256"
	"encoding/binary"
)

// numbers turns the order sequence into numbers that tell nobody how many orders there are: a keyed bijection of
// 40 bits (a Feistel network of four rounds), so that different sequence values never give one number, over all
// partitions and for ever. The key comes from the database.
type numbers struct {
	key []byte
}

const (
	halfBits = 20
	halfMask = 1<<halfBits - 1
)

// scramble permutes 0 .. 2^40-1.
func (n numbers) scramble(sequence uint64) uint64 {
	left, right := sequence>>halfBits&halfMask, sequence&halfMask
	for round := range byte(4) {
		left, right = right, left^n.round(round, right)
	}
	return left<<halfBits | right
}

func (n numbers) round(round byte, half uint64) uint64 {
	h := sha256.New()
	h.Write(n.key)
	h.Write([]byte{round})
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], half)
	h.Write(b[:])
	return binary.BigEndian.Uint64(h.Sum(nil)) & halfMask
}

// symbols are Crockford's base 32 and, for the check symbol, the five more of modulus 37.
const symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U"

// number is eight symbols and a check symbol, as in 7K2M-9QXD-4. The check finds every single wrong symbol and
// every swap of two neighbours.
func (n numbers) number(sequence int64) string {
	v := n.scramble(uint64(sequence)) //nolint:gosec // the sequence is bounded to 40 bits by its definition
	out := make([]byte, 0, 11)
	for i := 7; i >= 0; i-- {
		out = append(out, symbols[v>>(5*i)&31])
		if i == 4 || i == 0 {
			out = append(out, '-')
		}
	}
	return string(append(out, symbols[v%37]))
}

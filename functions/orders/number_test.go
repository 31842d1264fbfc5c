package orders

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// testNumbers has a key that is its index, byte by byte.
func testNumbers() numbers {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return numbers{key: key}
}

// unscramble is the way back: that there is one makes scramble a bijection.
func (n numbers) unscramble(v uint64) uint64 {
	left, right := v>>halfBits&halfMask, v&halfMask
	for round := 3; round >= 0; round-- {
		left, right = right^n.round(byte(round), left), left
	}
	return left<<halfBits | right
}

// right tells whether a number's check symbol fits the other eight, as a till would check it.
func right(number string) bool {
	const data = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	plain := strings.ReplaceAll(number, "-", "")
	rest := 0
	for i := range 8 {
		digit := strings.IndexByte(data, plain[i])
		if digit < 0 {
			return false
		}
		rest = (rest*32 + digit) % 37
	}
	return plain[8] == (data + "*~$=U")[rest]
}

func TestEverySequenceValueHasItsOwnNumber(t *testing.T) {
	t.Parallel()
	n := testNumbers()
	rapid.Check(t, func(t *rapid.T) {
		sequence := rapid.Uint64Range(0, 1<<40-1).Draw(t, "sequence")
		scrambled := n.scramble(sequence)
		require.Less(t, scrambled, uint64(1<<40))
		require.Equal(t, sequence, n.unscramble(scrambled))
	})
	const many = 200_000
	seen := make(map[string]bool, many)
	for sequence := range int64(many) {
		number := n.number(sequence)
		require.False(t, seen[number], number)
		seen[number] = true
	}
	assert.NotEqual(t, n.number(1), numbers{key: make([]byte, 32)}.number(1), "another shop's numbers are others")
}

// Numbers are on paper and in mailboxes: how one is made from a sequence value must never change.
func TestNumbersStayAsTheyAre(t *testing.T) {
	t.Parallel()
	n := testNumbers()
	for sequence, want := range map[int64]string{0: "304S-JBY6-V", 1: "78GW-2XKR-K", 2: "WFKM-PKFJ-$", 1<<40 - 1: "2E6V-NQ3B-0"} {
		assert.Equal(t, want, n.number(sequence), sequence)
	}
}

func TestCheckSymbolFindsEveryWrongSymbolAndEverySwap(t *testing.T) {
	t.Parallel()
	n := testNumbers()
	for sequence := range int64(500) {
		number := n.number(sequence)
		require.Regexp(t, `^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-Z*~$=]$`, number)
		require.True(t, right(number), number)
		places := []int{0, 1, 2, 3, 5, 6, 7, 8, 10}
		for i, place := range places {
			for _, symbol := range []byte(symbols) {
				wrong := []byte(number)
				wrong[place] = symbol
				require.Equal(t, symbol == number[place], right(string(wrong)), "%s for %s", wrong, number)
			}
			if i+1 < len(places) {
				swapped := []byte(number)
				next := places[i+1]
				swapped[place], swapped[next] = number[next], number[place]
				require.Equal(t, number[place] == number[next], right(string(swapped)), "%s for %s", swapped, number)
			}
		}
	}
}

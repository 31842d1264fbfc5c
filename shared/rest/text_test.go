package rest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNULIsFoundWhereItIsOne(t *testing.T) {
	t.Parallel()
	for canonical, want := range map[string]bool{
		`{"a":"b"}`:             false,
		`{"a":"\u0000"}`:        true,
		`{"a\u0000":1}`:         true,
		`{"a":"\\u0000"}`:       false,
		`{"a":"\\\u0000"}`:      true,
		`{"a":"\\u0000\u0000"}`: true,
		`{"a":"\u0001"}`:        false,
	} {
		assert.Equal(t, want, holdsNUL([]byte(canonical)), canonical)
	}
}

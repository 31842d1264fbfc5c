package jsonread_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/jsonread"
)

// FuzzAny compares with the standard library: the same value of whatever is JSON, and an end on whatever is not.
func FuzzAny(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-2.5e3,"x\n\u20ac\ud83d\ude00",true,false,null,{}],"":[]}`, ` [ ] `, `"`, `{"a"`, `[1,]`, `nul`, `-`, `"\`, `{"a":1,"a":2}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // refused before
		}
		r := jsonread.New([]byte(text))
		got := r.Any()
		var want any
		if json.Unmarshal([]byte(text), &want) == nil {
			require.NoError(t, r.Err())
			require.Equal(t, want, got)
			skipping := jsonread.New([]byte(text))
			require.Equal(t, strings.Trim(text, " \t\r\n"), string(skipping.Raw()))
			require.NoError(t, skipping.Err())
		}
	})
}

func TestAReaderStopsAtItsFirstError(t *testing.T) {
	t.Parallel()
	r := jsonread.New([]byte(`{"n":1.5,"s":"x"}`))
	r.Object(func(name string) {
		if name == "n" {
			r.Int()
			return
		}
		t.Errorf("%s comes after the error", name)
	})
	require.ErrorIs(t, r.Err(), jsonread.ErrText)
	assert.Empty(t, r.String())
}

func TestRawIsTheTextOfAValue(t *testing.T) {
	t.Parallel()
	r := jsonread.New([]byte(`{"a": {"amount": "1.00"} , "b": null}`))
	r.Object(func(name string) {
		if name == "a" {
			assert.Equal(t, `{"amount": "1.00"}`, string(r.Raw())) //nolint:testifylint // the bytes are the point
			return
		}
		assert.True(t, r.Null())
	})
	require.NoError(t, r.Err())
}

package paging_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/company/order-catalog-service/shared/paging"
)

type position struct {
	Name string `json:"n"`
	ID   string `json:"i"`
}

func TestCursorOfOneListMeansNothingToAnother(t *testing.T) {
	codec := paging.NewCodec([]byte("secret"))
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "a")
		b := rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "b")
		want := position{rapid.String().Draw(t, "name"), "x"}
		cursor, err := codec.Encode(paging.Scope(a...), want)
		require.NoError(t, err)
		if len(cursor) > 1000 {
			return
		}
		var got position
		require.NoError(t, codec.Decode(paging.Scope(a...), cursor, &got))
		if !assert.ObjectsAreEqual(a, b) {
			require.ErrorIs(t, codec.Decode(paging.Scope(b...), cursor, &got), paging.ErrBadCursor)
		}
	})
}

func TestWhatEncodeWritesDecodeReads(t *testing.T) {
	codec := paging.NewCodec([]byte("secret"))
	for _, longest := range []string{strings.Repeat("<", 200), strings.Repeat("\u2028", 200), strings.Repeat("👟", 200)} {
		want := position{longest, "018cc251-f400-7000-8000-000000000000"}
		cursor, err := codec.Encode("list", want)
		require.NoError(t, err)
		var got position
		require.NoError(t, codec.Decode("list", cursor, &got), "%d bytes", len(cursor))
		assert.Equal(t, want, got)
	}
	_, err := codec.Encode("list", position{strings.Repeat("a", 2000), ""})
	require.ErrorContains(t, err, "bytes", "rather than a cursor that nobody can use")
}

func TestTamperedCursorIsRefused(t *testing.T) {
	codec := paging.NewCodec([]byte("secret"))
	cursor, err := codec.Encode("list", position{"a", "b"})
	require.NoError(t, err)
	var got position
	for i := range cursor {
		other := byte('A')
		if cursor[i] == other {
			other = 'B'
		}
		changed := cursor[:i] + string(other) + cursor[i+1:]
		require.ErrorIs(t, codec.Decode("list", changed, &got), paging.ErrBadCursor, "byte %d", i)
	}
	require.ErrorIs(t, paging.NewCodec([]byte("other")).Decode("list", cursor, &got), paging.ErrBadCursor)
	require.NoError(t, paging.NewCodec([]byte("other"), []byte("secret")).Decode("list", cursor, &got), "rotation")
}

func TestLinkKeepsTheQuery(t *testing.T) {
	query := url.Values{"category": {"a&b"}, "cursor": {"old"}}
	assert.Equal(t, `</p?category=a%26b&cursor=new>; rel="next", </p?category=a%26b>; rel="first"`, paging.Link("/p", query, "new"))
	assert.Equal(t, `</p?category=a%26b>; rel="first"`, paging.Link("/p", query, ""))
}

func FuzzDecodeCursor(f *testing.F) {
	codec := paging.NewCodec([]byte("secret"))
	good, err := codec.Encode("list", position{"a", "b"})
	require.NoError(f, err)
	f.Add(good)
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, cursor string) {
		var got position
		if err := codec.Decode("list", cursor, &got); err == nil {
			require.Equal(t, good, cursor, "accepted a cursor that was never written")
		}
	})
}

// A codec changes its keys while cursors of the old one are out.
func TestACodecFollowsARotation(t *testing.T) {
	t.Parallel()
	c := paging.NewCodec([]byte("old"))
	cursor, err := c.Encode("list", 7)
	require.NoError(t, err)
	c.Use([]byte("new"), []byte("old"))
	var at int
	require.NoError(t, c.Decode("list", cursor, &at))
	assert.Equal(t, 7, at)
	fresh, err := c.Encode("list", 8)
	require.NoError(t, err)
	require.NoError(t, paging.NewCodec([]byte("new")).Decode("list", fresh, &at))
	c.Use([]byte("new"))
	assert.ErrorIs(t, c.Decode("list", cursor, &at), paging.ErrBadCursor)
}

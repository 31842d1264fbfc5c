package docs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzAcceptEncoding: two lines are one list, and what names no gzip gets none unless it takes all.
func FuzzAcceptEncoding(f *testing.F) {
	for _, seed := range []string{"gzip", "GZIP;q=0.5", "gzip;q=0", "*", "*;q=0, gzip", "br, deflate", "gzip;q=nan", ";;,=", "x-gzip"} {
		f.Add(seed, "br")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		require.Equal(t, acceptsGzip([]string{one + "," + two}), acceptsGzip([]string{one, two}))
	})
}

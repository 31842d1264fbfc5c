package egress

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzPrintable: what a stranger answered becomes text that a column can hold and a terminal doesn't obey.
func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"thanks", "\x00", "\xff\xfe", "\x1b[2J", "a\r\nb\tc", "\u0085\u009b31m", "é\U0001f600", "\xed\xa0\x80"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := printable(s)
		require.True(t, utf8.ValidString(out))
		require.Equal(t, -1, strings.IndexFunc(out, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 }), "%q", out)
		require.Equal(t, out, printable(out))
	})
}

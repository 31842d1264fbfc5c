package rest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzPrefer: two lines prefer what either prefers, in any case, and what is inside of quotes is no preference.
func FuzzPrefer(f *testing.F) {
	for _, seed := range []string{"respond-async", "Respond-Async; wait=10", `foo="respond-async"`, `foo="a, respond-async"`, "wait=1,respond-async", `"\",respond-async`, ",,;", "respond-async=1"} {
		f.Add(seed, "return=minimal")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		a, b := prefers([]string{one}, RespondAsync), prefers([]string{two}, RespondAsync)
		assert.Equal(t, a || b, prefers([]string{one, two}, RespondAsync))
		assert.Equal(t, a, prefers([]string{strings.ToUpper(one)}, RespondAsync))
		assert.Equal(t, prefers([]string{two}, "wait"), prefers([]string{two, two}, "wait"))
		assert.False(t, a && !strings.Contains(strings.ToLower(one), RespondAsync))
		assert.False(t, prefers([]string{`x="` + strings.NewReplacer(`"`, "", `\`, "").Replace(one) + `"`}, RespondAsync))
	})
}

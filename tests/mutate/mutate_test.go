package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// changes are the mutants of a file, each as the line that it makes of one.
func changes(t *testing.T, text string) (list []string) {
	t.Helper()
	found, err := mutants("x.go", []byte(text))
	require.NoError(t, err)
	for _, m := range found {
		_, err := mutants("x.go", m.apply([]byte(text)))
		require.NoError(t, err, "%s makes a file that can't be read", m)
		list = append(list, text[m.from:m.to]+" -> "+m.text)
	}
	return list
}

func TestGoIsBrokenOneChangeAtATime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want []string
	}{
		{"_ = a < b && c", []string{"&& -> ||", "< -> <="}},
		{"_ = a + 1 - b", []string{"- -> +", "+ -> -"}},
		{"_ = \"a\" + b", nil},
		{"_ = err == nil", nil},
		{"if err != nil { }", []string{"err != nil -> false && (err != nil)"}},
		{"switch { case ok: default: }", []string{"ok -> false && (ok)"}},
		{"f(1)", []string{"f(1) -> if false { f(1) }"}},
		{"defer f()", []string{"defer f() -> if false { defer f() }"}},
		{"a = b; c++; d := e; _ = d", []string{"a = b -> if false { a = b }", "c++ -> if false { c++ }"}},
		{"for i = 0; ; i++ { }", nil},
		{"l.logger.Error(\"it\"); span.End(); cancel()", nil},
		{"return 1, err", []string{"err -> nil"}},
		{"return 1, fmt.Errorf(\"it: %w\", err)", []string{"fmt.Errorf(\"it: %w\", err) -> nil"}},
		{"return 1, save()", nil},
		{"return 1, nil", nil},
		{"g = func() int { return a }", []string{"g = func() int { return a } -> if false { g = func() int { return a } }"}},
	} {
		t.Run(c.body, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, changes(t, "package x\n\nfunc f() (int, error) {\n"+c.body+"\n}\n"))
		})
	}
}

func TestSQLIsBrokenOneChangeAtATime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sql  string
		want []string
	}{
		{"SELECT a FROM t WHERE id = $1 AND at BETWEEN $2 AND $3 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", []string{
			"id = $1 -> (id = $1 OR TRUE)", "at BETWEEN $2 AND $3 -> (at BETWEEN $2 AND $3 OR TRUE)", "ORDER BY id  ->  ",
			"FOR NO KEY UPDATE SKIP LOCKED -> ", " SKIP LOCKED -> ",
		}},
		{"DELETE FROM t WHERE id IN (SELECT id FROM t WHERE old LIMIT 3) RETURNING id", []string{
			"id IN (SELECT id FROM t WHERE old LIMIT 3) -> (id IN (SELECT id FROM t WHERE old LIMIT 3) OR TRUE)", "old -> (old OR TRUE)",
		}},
		{" AND status = 'a AND b' AND (x IS NULL OR y)\n)", []string{
			"status = 'a AND b' -> (status = 'a AND b' OR TRUE)", "(x IS NULL OR y) -> ((x IS NULL OR y) OR TRUE)",
		}},
		{"INSERT INTO t SELECT 1 ON CONFLICT (id) DO NOTHING", []string{"ON CONFLICT (id) DO NOTHING -> "}},
		{"UPDATE t SET n = n + 1", []string{"+ 1 -> + 0"}},
		{"SELECT a FROM t JOIN u ON t.id = u.id", []string{"t.id = u.id -> (t.id = u.id OR TRUE)"}},
		{"where is it?", nil},
	} {
		t.Run(c.sql, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, changes(t, "package x\n\nconst q = `"+c.sql+"`\n"))
		})
	}
}

func TestLuaIsBrokenOneChangeAtATime(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"  redis.call('SET', KEYS[1], 1) -> ", "known -> false", "a < b -> false"},
		changes(t, "package x\n\nvar s = `\nlocal known = redis.call('GET', KEYS[1])\nif known then\n  redis.call('SET', KEYS[1], 1)\nelseif a < b then\nend`\n"))
}

// TestEveryPlaceHasItsTurn spreads few mutants over many places, and picks the same ones again.
func TestEveryPlaceHasItsTurn(t *testing.T) {
	t.Parallel()
	var all []mutant
	for range 50 {
		all = append(all, mutant{in: "long"})
	}
	for _, in := range []string{"a", "b", "c"} {
		all = append(all, mutant{in: in}, mutant{in: in})
	}
	for i := range all {
		all[i].line = i
	}
	chosen := spread(all, 8, 7)
	count := map[string]int{}
	for _, m := range chosen {
		count[m.in]++
	}
	assert.Equal(t, map[string]int{"long": 2, "a": 2, "b": 2, "c": 2}, count)
	assert.Equal(t, chosen, spread(all, 8, 7))
	assert.Len(t, spread(all, 0, 7), len(all))
	assert.Len(t, spread(all, 8, 7), 8)
}

func TestTheDefaultsAreThere(t *testing.T) {
	t.Chdir("../..")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"--list", "--most", "0"}, &out, io.Discard))
	for _, file := range promises {
		assert.Contains(t, out.String(), "\n"+file+":", "no mutant of it")
	}
	require.ErrorContains(t, run(t.Context(), []string{"--list", "nothing.go"}, io.Discard, io.Discard), "from the root of the repository")
}

// TestWhatTheTestsNoticeAndWhatNot tries the mutants of a package whose test looks at one half of it. The tree stays as it is.
func TestWhatTheTestsNoticeAndWhatNot(t *testing.T) {
	const source = `package shop

func Left(have, sold int) int {
	if sold > have {
		panic("oversold")
	}
	return have - sold
}

func Hang(n int) {
	for n > 0 {
		n--
	}
}
`
	const tests = `package shop

import ("testing"; "time")

func TestLeft(t *testing.T) {
	if Left(3, 1) != 2 {
		t.Error("two are left")
	}
	time.Sleep(20 * time.Millisecond)
}

func TestHang(t *testing.T) { Hang(1) }
`
	root := t.TempDir()
	t.Chdir(root)
	require.NoError(t, os.Mkdir("shop", 0o700))
	for name, text := range map[string]string{"go.mod": "module example.com/shop\n\ngo 1.24\n", "shop/shop.go": source, "shop/shop_test.go": tests} {
		require.NoError(t, os.WriteFile(filepath.FromSlash(name), []byte(text), 0o600))
	}
	o := options{Files: []string{"shop/shop.go"}}
	packages, err := o.choose()
	require.NoError(t, err)
	require.Len(t, packages, 1)
	p := packages[0]
	var fates, said []string
	b := &bench{scratch: t.TempDir(), slow: 10 * time.Millisecond, say: io.Discard, suites: map[string]*suite{}}
	s, err := b.measure(t.Context(), "shop")
	require.NoError(t, err)
	assert.Equal(t, []string{"TestLeft"}, s.slow)
	s.bound = 2 * time.Second
	for _, m := range p.chosen {
		r, err := b.attempt(t.Context(), m, []string{"shop"})
		require.NoError(t, err)
		p.results = append(p.results, r)
		fates, said = append(fates, m.what+": "+string(r.fate)), append(said, r.by)
	}
	assert.Equal(t, []string{
		"never `sold > have`: survived",
		"`>=` for `>` in `sold > have`: survived",
		"without `panic(\"oversold\")`: survived",
		"`+` for `-` in `have - sold`: killed",
		"`>=` for `>` in `n > 0`: survived",
		"without `n--`: killed",
	}, fates)
	assert.Equal(t, []string{"", "", "", "TestLeft", "", "the clock: no end in 2s"}, said)
	var page strings.Builder
	report(&page, packages)
	assert.Contains(t, page.String(), "| `shop` | 6 | 6 | 2 | 4 | 0 |\n\n- shop/shop.go:4 Left: never `sold > have`")
	left, err := os.ReadFile("shop/shop.go")
	require.NoError(t, err)
	assert.Equal(t, source, string(left))
}

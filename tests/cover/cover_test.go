package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shop is a repository of the same layout as ours. Its one test starts the handler with a bare environment, and kills it
// when it has written what it executed.
var shop = map[string]string{
	"go.mod": "module example.com/shop\n\ngo 1.26\n",
	"functions/orders/orders.go": `package orders

func Place(n int) int {
	if n < 0 {
		return 0
	}
	return n
}
`,
	"functions/orders/orders_test.go": `package orders

import "testing"

func TestPlace(t *testing.T) { Place(1) }
`,
	"shared/background/background.go": `package background

func Go(f func()) { go f() }
`,
	"infra/local/local.go": "package local\n",
	"handler/main.go": `package main

import (
	"fmt"
	"os"
	"time"

	"example.com/shop/shared/background"
)

func main() {
	background.Go(serve)
	time.Sleep(time.Hour)
}

func serve() {
	if len(os.Args) > 1 {
		fmt.Println("never")
	}
	fmt.Println("ready")
}
`,
	"handler/main_test.go": `package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestKilled(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "handler")
	if said, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatal(err, string(said))
	}
	var stderr bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Env, cmd.Stderr = []string{"PATH=/"}, &stderr
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatal(line)
	}
	counters := filepath.Join(os.Getenv("GOCOVERDIR"), fmt.Sprintf("covcounters.*.%d.*", cmd.Process.Pid))
	last, _ := filepath.Glob(counters)
	for changes, tries := 0, 0; changes < 2 && tries < 200; tries++ { // 10 s; without any, the numbers are too low
		time.Sleep(50 * time.Millisecond)
		if found, _ := filepath.Glob(counters); !slices.Equal(found, last) {
			last, changes = found, changes+1
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if stderr.Len() > 0 {
		t.Error(stderr.String())
	}
}
`,
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
}

// measure runs the command on a repository of these files; it is not in the middle of `make cover`, even if this test is.
func measure(t *testing.T, files map[string]string, args ...string) (dir, said string, err error) {
	t.Helper()
	for _, name := range []string{"GOFLAGS", "GOCOVERDIR"} {
		t.Setenv(name, "")
	}
	dir = t.TempDir()
	write(t, dir, files)
	var out bytes.Buffer
	err = cover(t.Context(), append([]string{"-repo", dir, "-out", "page"}, args...), &out)
	return dir, out.String(), err
}

func TestWhatAKilledHandlerExecutedIsCounted(t *testing.T) {
	dir, said, err := measure(t, shop, "-least", "78")
	require.ErrorContains(t, err, "77.8 % of the statements were executed, 78.0 % are asked for", "%s", said)
	for _, line := range []string{
		"  66.7 %            3        1   example.com/shop/functions/orders\n",
		"  80.0 %            5        1   example.com/shop/handler\n",
		" 100.0 %            1        0   example.com/shop/shared/background\n",
	} {
		assert.Contains(t, said, line)
	}
	page, err := os.ReadFile(filepath.Join(dir, "page", "index.html"))
	require.NoError(t, err)
	assert.Contains(t, string(page), `<a href="source.html#file1">handler/main.go</a>`)
	assert.Contains(t, string(page), `<span class="bad">functions/orders</span>`)
	source, err := os.ReadFile(filepath.Join(dir, "page", "source.html"))
	require.NoError(t, err)
	assert.Contains(t, string(source), `<option value="file1">example.com/shop/handler/main.go`)
}

// What fails, or can't be counted, is an error even where the number would do.
func TestNoNumberHidesAFailure(t *testing.T) {
	broken := maps.Clone(shop)
	delete(broken, "handler/main_test.go")
	broken["functions/orders/orders_test.go"] = "package orders\n\nimport \"testing\"\n\nfunc TestPlace(t *testing.T) { t.Fatal(Place(1)) }\n"
	_, said, err := measure(t, broken, "-least", "0")
	require.ErrorContains(t, err, "the tests: exit status 1")
	require.ErrorContains(t, err, "in none of the tests that were run are: example.com/shop/handler, example.com/shop/shared/background")
	assert.NotContains(t, said, "The page", "it would show a part for the whole")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := parse([]string{"-least", "101"}, &bytes.Buffer{})
	require.ErrorContains(t, err, "--least is a percentage")
	o, err := parse([]string{"./tests/e2e"}, &bytes.Buffer{})
	require.NoError(t, err)
	assert.Equal(t, []string{"./tests/e2e"}, o.packages)
	assert.True(t, filepath.IsAbs(o.out))
}

// A block is executed when any process executed it.
func TestProfile(t *testing.T) {
	t.Parallel()
	p, err := parseProfile([]byte("mode: atomic\nm/p/a.go:3.1,4.2 1 0\nm/p/a.go:1.1,2.2 2 0\nm/p/b.go:1.1,2.2 1 7\nm/p/a.go:1.1,2.2 2 5\nm/p/b.go:1.1,2.2 1 0\n"))
	require.NoError(t, err)
	text, index := p.text()
	assert.Equal(t, "mode: set\nm/p/a.go:1.1,2.2 2 1\nm/p/a.go:3.1,4.2 1 0\nm/p/b.go:1.1,2.2 1 1\n", string(text))
	assert.Equal(t, map[string]int{"m/p/a.go": 0, "m/p/b.go": 1}, index)
	assert.Equal(t, totals{
		count: count{"all", 4, 3},
		Packages: []packageCount{{
			count: count{"m/p", 4, 3},
			Files: []count{{"m/p/a.go", 3, 2}, {"m/p/b.go", 1, 1}},
		}},
	}, p.totals())
	for _, bad := range []string{"m/a.go 1\n", "m/a.go:1.1,2.2 x 1\n"} {
		_, err := parseProfile([]byte(bad))
		require.ErrorContains(t, err, "is not a line of a coverage profile")
	}
}

package orders

import (
	"flag"
	"os"
	"testing"
)

// TestMain keeps rapid from writing failures into testdata, from where they would be run again for ever: it prints a
// seed to repeat one with (-rapid.seed), and a regression gets a test with a name.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

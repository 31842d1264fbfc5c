package background_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/background"
)

// log collects what is logged; no test of this package runs beside another, as there is one default logger.
type log struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

var logged = &log{}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(logged, nil)))
	os.Exit(m.Run())
}

// A panic on each kind of goroutine: this process is still there afterwards, and what happened is in the log.
func TestAPanicEndsNothingElse(t *testing.T) {
	background.Go("bare", func() { panic("one") })
	background.After(time.Millisecond, "later", func() { panic("two") })
	background.Go("index", func() { _ = []int{}[len(t.Name())] })
	for _, says := range []string{`"name":"bare","panic":"one"`, `"name":"later","panic":"two"`, `"name":"index","panic":"runtime error: index out of range`} {
		require.Eventually(t, func() bool { return bytes.Contains([]byte(logged.String()), []byte(says)) }, 10*time.Second, time.Millisecond, says)
	}
	assert.Contains(t, logged.String(), "background_test.go", "with where it happened")
}

func TestAGroupSaysWhatBecameOfEach(t *testing.T) {
	broken := errors.New("broken")
	var g background.Group
	g.Go("fine", func() error { return nil })
	g.Go("fails", func() error { return broken })
	g.Go("panics", func() error { panic("three") })
	g.Go("last", func() error { return nil })
	errs := g.Wait()
	require.Len(t, errs, 4)
	assert.NoError(t, errs[0])
	assert.ErrorIs(t, errs[1], broken)
	assert.EqualError(t, errs[2], "panics: panic: three")
	assert.NoError(t, errs[3])
	assert.Empty(t, new(background.Group).Wait())
}

func TestACaughtPanicIsAnError(t *testing.T) {
	v, err := background.Catch("caught", func() (int, error) { panic("four") })()
	assert.EqualError(t, err, "caught: panic: four")
	assert.Zero(t, v)
	v, err = background.Catch("caught", func() (int, error) { return 5, nil })()
	require.NoError(t, err)
	assert.Equal(t, 5, v)
}

func TestAStoppedTimerDoesNothing(t *testing.T) {
	ran := make(chan struct{}, 1)
	assert.True(t, background.After(time.Hour, "never", func() { ran <- struct{}{} }).Stop())
	background.After(0, "now", func() { ran <- struct{}{} })
	select {
	case <-ran:
	case <-time.After(10 * time.Second):
		t.Fatal("it did not run")
	}
}

package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/telemetry"
	"github.com/company/order-catalog-service/tests/kit/collector"
)

// A secret stays one however it is printed, alone or inside of something.
func TestASecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	type settings struct {
		Name string
		URL  telemetry.Secret
		More []telemetry.Secret
	}
	s := settings{"x", "hunter2", []telemetry.Secret{"hunter2"}}
	var out bytes.Buffer
	logger := telemetry.Logger(&out, slog.LevelInfo)
	logger.Info("settings", "url", s.URL, "all", s, "list", s.More, "pointer", &s, "map", map[string]telemetry.Secret{"x": "hunter2"})
	logger.With("url", s.URL).WithGroup("g").Info("settings", slog.Group("inner", "url", s.URL))
	raw, err := json.Marshal(s)
	require.NoError(t, err)
	text := out.String() + string(raw) + fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.URL, s.URL) + fmt.Errorf("cannot use %v", s.URL).Error()
	assert.NotContains(t, text, "hunter2")
	assert.Contains(t, text, `"URL":"[redacted]"`)
	assert.Equal(t, "hunter2", string(s.URL), "where it is used it is there")
}

// When everything fails in the same way, the log says so and how often, and not a line for each.
func TestEqualWarningsAreCountedNotRepeated(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logger := telemetry.Logger(&out, slog.LevelInfo)
	began := time.Now()
	const all = 10_000
	for range all {
		logger.Warn("the database is away", "error", "no")
		logger.Info("asked for")
	}
	logger.Warn("something else")
	seconds := int(time.Since(began).Seconds()) + 2
	said := strings.Count(out.String(), "the database is away")
	assert.LessOrEqual(t, said, 20*seconds)
	assert.GreaterOrEqual(t, said, 20)
	assert.Equal(t, all, strings.Count(out.String(), "asked for"), "what is below a warning is not noise: it was asked for")
	assert.Contains(t, out.String(), "something else", "one kind of noise hides no other")

	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second + 10*time.Millisecond)))
	logger.Warn("the database is away", "error", "no")
	accounted := 0
	for line := range strings.Lines(out.String()) {
		var record struct {
			Msg     string
			LeftOut int `json:"left_out"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		if record.Msg == "the database is away" {
			accounted += 1 + record.LeftOut
		}
	}
	assert.Equal(t, all+1, accounted, "every one is accounted for")
}

// Records go to the collector as well, with what ctx says of their unit of work.
func TestRecordsAreCompleteInBothPlaces(t *testing.T) {
	c := collector.New(t)
	tel, log := seen(t, c, func(o *telemetry.Options) {
		o.Fields = func(context.Context) []slog.Attr { return []slog.Attr{slog.String("invocation_id", "i-1")} }
	})
	get(api(t, tel.Logger), "/api/v1/things/500", theirs+"01")
	tel.Logger.Info("below the level")
	require.NoError(t, tel.Close(t.Context()))
	require.Len(t, c.Lines(), 1)
	assert.Contains(t, c.Lines()[0], "request failed")
	for _, text := range []string{c.Lines()[0], log.String()} {
		assert.Contains(t, text, "i-1")
		assert.Contains(t, text, "4bf92f3577b34da6a3ce929d0e0e4736")
		assert.Contains(t, text, "broken")
	}
}

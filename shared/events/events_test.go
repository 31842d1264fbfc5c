package events_test

import (
	"encoding/json"
	"math"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/events"
)

func event() events.Event {
	return events.Event{
		ID: uuid.MustParse("0197c2f4-7a31-7c7e-9d0e-5b1f6a2c8d11"), Type: events.OrderCreated, Sequence: 1,
		Aggregate: events.Aggregate{Type: "order", ID: uuid.MustParse("0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d")},
		Time:      time.Date(2026, 11, 24, 13, 0, 0, 123456000, time.FixedZone("CET", 3600)),
		Data: map[string]any{
			"totalAmount": map[string]string{"currency": "USD", "amount": "19.99"}, "id": "x", "name": "Tom & <Jerry>", "none": nil,
		},
	}
}

// CE-01 and CE-04. The bytes are pinned: receivers check signatures over them, and those that were stored by an
// earlier release are sent by a later one beside its own.
func TestCE01TheBytesOfAnEvent(t *testing.T) {
	t.Parallel()
	const want = `{"specversion":"1.0","id":"0197c2f4-7a31-7c7e-9d0e-5b1f6a2c8d11",` +
		`"source":"/api/v1/orders/0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d","type":"order.created.v1",` +
		`"subject":"0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d","time":"2026-11-24T12:00:00.123456Z",` +
		`"datacontenttype":"application/json","partitionkey":"0197c2f0-11aa-7bb0-8c0d-3e4f5a6b7c8d","sequence":"1",` +
		`"data":{"id":"x","name":"Tom \u0026 \u003cJerry\u003e","none":null,"totalAmount":{"amount":"19.99","currency":"USD"}}}`
	for range 20 {
		got, err := event().Encode()
		require.NoError(t, err)
		require.Equal(t, want, string(got), "each time, whatever the order of a map") //nolint:testifylint // the bytes are the point
	}
}

// What CloudEvents 1.0 asks of attributes, whatever the event.
func TestCE01Attributes(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z0-9]{1,20}$`)
	for _, kind := range []string{
		events.OrderCreated, events.OrderConfirmed, events.OrderCancelled, events.ProductPriceChanged, events.ProductStockDepleted,
	} {
		e := event()
		e.Type, e.Aggregate.Type, e.Sequence = kind, strings.Split(kind, ".")[0], math.MaxInt64
		raw, err := e.Encode()
		require.NoError(t, err)
		var doc map[string]any
		require.NoError(t, json.Unmarshal(raw, &doc))
		for attribute, value := range doc {
			assert.Regexp(t, name, attribute)
			if attribute != "data" {
				assert.IsType(t, "", value, "%s: extensions are strings too", attribute)
				assert.NotEmpty(t, value, attribute)
			}
		}
		assert.Equal(t, "1.0", doc["specversion"])
		assert.Regexp(t, `^(order|product)(\.[a-z_]+)+\.v[0-9]+$`, doc["type"], "WH-09: letters, digits, underscore and dot")
		source, err := url.Parse(doc["source"].(string))
		require.NoError(t, err)
		assert.Regexp(t, `^/api/v1/(orders|products)/[0-9a-f-]{36}$`, source.Path)
		at, err := time.Parse(time.RFC3339, doc["time"].(string))
		require.NoError(t, err)
		assert.True(t, at.Equal(e.Time))
		assert.Equal(t, "9223372036854775807", doc["sequence"], "a string: it would not fit into a double")
		assert.Equal(t, doc["subject"], doc["partitionkey"], "CE-05: one aggregate, one session")
	}
}

func TestDataThatIsNoJSONIsAnError(t *testing.T) {
	t.Parallel()
	e := event()
	e.Data = map[string]any{"f": math.NaN()}
	_, err := e.Encode()
	require.ErrorContains(t, err, "encoding order.created.v1")
}

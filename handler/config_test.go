package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// An order that waited for its queue until the request's deadline could not be queued any more.
func TestOrdersAreQueuedWellBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	for after, ok := range map[string]bool{"0s": true, "5s": true, "6s": false, "-1s": false} {
		_, err := load(map[string]string{
			"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing", "AUTH_ISSUER": "http://127.0.0.1:1", "AUTH_AUDIENCE": "test",
			"JWT_SIGNING_KEY": "a key for this test only", "WEBHOOK_SECRET": "a secret for this test only",
			"SERVICEBUS_CONNECTION": "Endpoint=sb://127.0.0.1:1", "REQUEST_TIMEOUT": "10s", "ORDER_QUEUE_AFTER": after,
		})
		if ok {
			assert.NoError(t, err, after)
			continue
		}
		assert.ErrorContains(t, err, "ORDER_QUEUE_AFTER", after)
	}
}

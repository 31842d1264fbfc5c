package servicebus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	standin "github.com/company/order-catalog-service/infra/local/servicebus"
	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/tests/kit"
)

func TestOpenNeverShowsTheKey(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"hush-hush", "Endpoint=sb://x;SharedAccessKey=hush-hush", "SharedAccessKeyName=n;SharedAccessKey=hush-hush", "Endpoint=:%zz;SharedAccessKeyName=n;SharedAccessKey=hush-hush;EntityPath"} {
		_, err := servicebus.Open(servicebus.Options{ConnectionString: s})
		require.ErrorContains(t, err, "SERVICEBUS_CONNECTION", s)
		assert.NotContains(t, err.Error(), "hush")
	}
	_, err := servicebus.Open(servicebus.Options{})
	require.ErrorContains(t, err, "neither")
	_, err = servicebus.Open(servicebus.Options{Namespace: "sb://shop.servicebus.windows.net/"})
	require.ErrorContains(t, err, "without scheme")
}

func TestOpenByIdentityNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	identity, err := secrets.Identity("11111111-2222-3333-4444-555555555555")
	require.NoError(t, err)
	client, err := servicebus.Open(servicebus.Options{Namespace: "nowhere.invalid", Credential: identity})
	require.NoError(t, err)
	_ = client.Close(ctx)
	_, err = servicebus.Open(servicebus.Options{Namespace: "nowhere.invalid"})
	require.ErrorContains(t, err, "needs an identity")
}

// The identity's token opens the way, over TLS, as a shared key does.
func TestSendByIdentity(t *testing.T) {
	a := kit.NewAzure(t)
	broker, err := standin.New(standin.Options{})
	require.NoError(t, err)
	require.NoError(t, broker.LoadConfig(standin.ServiceEntities()))
	// The test server's certificate is for *.example.com.
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	defer certified.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", certified.TLS)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- broker.Serve(l) }()
	defer func() {
		require.NoError(t, broker.Close())
		require.NoError(t, <-served)
	}()
	identity, err := secrets.Identity(a.ClientID)
	require.NoError(t, err)
	trust := x509.NewCertPool()
	trust.AddCert(certified.Certificate())
	client, err := servicebus.OpenAt(servicebus.Options{Namespace: "shop.example.com", Credential: identity}, l.Addr().String(), &tls.Config{RootCAs: trust, ServerName: "shop.example.com"})
	require.NoError(t, err)
	defer func() { _ = client.Close(context.Background()) }()
	sent, err := client.Sender(servicebus.TopicOrderEvents).Send(t.Context(), messages(1, 1))
	require.NoError(t, err)
	assert.Equal(t, 2, sent)
	_, resources := a.Log()
	assert.Contains(t, resources, "https://servicebus.azure.net/")
	depth, _ := broker.Depth(servicebus.TopicOrderEvents + "/Subscriptions/" + servicebus.SubscriptionWebhooks)
	assert.Equal(t, 2, depth.Active)
	a.FaultIdentity(kit.Refuse(http.StatusBadRequest, "x", "No User Assigned or Delegated Managed Identity found"))
	other, err := secrets.Identity("99999999-2222-3333-4444-555555555555")
	require.NoError(t, err)
	refused, err := servicebus.OpenAt(servicebus.Options{Namespace: "shop.example.com", Credential: other}, l.Addr().String(), &tls.Config{RootCAs: trust, ServerName: "shop.example.com"})
	require.NoError(t, err)
	defer func() { _ = refused.Close(context.Background()) }()
	_, err = refused.Sender(servicebus.TopicOrderEvents).Send(t.Context(), messages(1))
	require.ErrorContains(t, err, "No User Assigned")
}

// After a rotation the next batch goes over the new connection, and what was on its way on the old one is not lost.
func TestUseGoesOverToAnotherConnection(t *testing.T) {
	t.Parallel()
	first, second := kit.NewBroker(t), kit.NewBroker(t)
	client := first.Client(t)
	s := client.Sender(servicebus.TopicOrderEvents)
	_, err := s.Send(t.Context(), messages(1))
	require.NoError(t, err)
	require.ErrorContains(t, client.Use("hush-hush"), "SERVICEBUS_CONNECTION")
	_, err = s.Send(t.Context(), messages(1))
	require.NoError(t, err, "what can't be used leaves all as it was")
	require.NoError(t, client.Use(second.Connection))
	_, err = s.Send(t.Context(), messages(1, 1))
	require.NoError(t, err)
	assert.Equal(t, []string{"0"}, subjects(t, first, 1), "once: the second had its id")
	assert.Equal(t, []string{"0", "1"}, subjects(t, second, 2))
}

func messages(sizes ...int) (list []servicebus.Message) {
	for i, size := range sizes {
		list = append(list, servicebus.Message{ID: strconv.Itoa(i), Subject: strconv.Itoa(i), Body: []byte(strings.Repeat("x", size))})
	}
	return list
}

// subjects are of what came to the topic, in order.
func subjects(t *testing.T, b *kit.Broker, n int) (list []string) {
	t.Helper()
	for _, m := range b.Events(t, n) {
		list = append(list, *m.Subject)
	}
	return list
}

func TestSendKeepsTheOrderOverSeveralBatches(t *testing.T) {
	t.Parallel()
	b := kit.NewBroker(t)
	const third = standin.MaxMessageSize / 3
	sent, err := b.Client(t).Sender(servicebus.TopicOrderEvents).Send(t.Context(), messages(third, third, third, 1, third, 2*third))
	require.NoError(t, err)
	assert.Equal(t, 6, sent)
	assert.Equal(t, []string{"0", "1", "2", "3", "4", "5"}, subjects(t, b, 6))
}

func TestSendSaysHowManyTheBrokerHas(t *testing.T) {
	t.Parallel()
	b := kit.NewBroker(t)
	s := b.Client(t).Sender(servicebus.TopicOrderEvents)
	sent, err := s.Send(t.Context(), messages(1, 1, standin.MaxMessageSize, 1))
	require.ErrorIs(t, err, servicebus.ErrRefused)
	assert.Equal(t, 2, sent)
	assert.Equal(t, []string{"0", "1"}, subjects(t, b, 2))

	// The broker's hour is bad, no message is at fault: nobody is blamed. The client tries twice.
	require.NoError(t, b.FailSends(servicebus.TopicOrderEvents, standin.Fault{Condition: "com.microsoft:server-busy", Times: 2}))
	sent, err = s.Send(t.Context(), messages(1, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, servicebus.ErrRefused)
	assert.Zero(t, sent)
}

// A refused batch doesn't say which of its messages is at fault: they go one by one, up to that one.
func TestRefusedInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	b := kit.NewBroker(t)
	for _, f := range []standin.Fault{
		{Condition: "com.microsoft:argument-error", Times: 2}, // the batch, which the client tries twice
		{Times: 2}, // the first two alone are taken
		{Condition: "com.microsoft:argument-error", Times: 2}, // the third isn't
	} {
		require.NoError(t, b.FailSends(servicebus.TopicOrderEvents, f))
	}
	sent, err := b.Client(t).Sender(servicebus.TopicOrderEvents).Send(t.Context(), messages(1, 1, 1, 1))
	require.ErrorIs(t, err, servicebus.ErrRefused)
	assert.Equal(t, 2, sent)
	assert.Equal(t, []string{"0", "1"}, subjects(t, b, 2))
}

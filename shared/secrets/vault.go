package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

// retries are those of Azure's client, towards the vault and the identity's endpoint: the one layer that has any.
func retries() policy.RetryOptions {
	p := dependency.KeyVault
	return policy.RetryOptions{MaxRetries: p.Retries, RetryDelay: p.Backoff, MaxRetryDelay: 5 * time.Second, TryTimeout: p.Call}
}

// vault asks Key Vault.
type vault struct {
	host   string
	client *azsecrets.Client
}

func newVault(address string, credential azcore.TokenCredential, transport policy.Transporter) (*vault, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("KEY_VAULT_URL is not the address of a vault (https://name.vault.azure.net)")
	}
	client, err := azsecrets.NewClient("https://"+u.Host, credential, &azsecrets.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: transport,
		// A throttled vault says how long to wait; what it asks for beyond this is left to the next round.
		Retry: retries(),
	}})
	if err != nil {
		return nil, fmt.Errorf("KEY_VAULT_URL: %w", err)
	}
	return &vault{host: u.Host, client: client}, nil
}

// read returns up to most enabled versions of a secret, newest first; none when the vault has no such secret. Values
// of known versions are not asked for again: a version's value never changes.
func (v *vault) read(ctx context.Context, name string, most int, known []Version) ([]Version, error) {
	list, err := v.list(ctx, name)
	if err != nil {
		return nil, v.explain(name, err)
	}
	var versions []Version
	for _, version := range list {
		if len(versions) == most {
			break
		}
		if i := slices.IndexFunc(known, func(k Version) bool { return k.ID == version.ID }); i >= 0 {
			versions = append(versions, known[i])
			continue
		}
		got, err := v.client.GetSecret(ctx, name, version.ID, nil)
		if err != nil {
			return nil, v.explain(name, err)
		}
		if got.Value == nil || *got.Value == "" {
			return nil, fmt.Errorf("version %s of the vault's secret %s is empty: set a value, or disable the version", version.ID, name)
		}
		version.Value = *got.Value
		versions = append(versions, version)
	}
	return versions, nil
}

// list names the versions that may be used now, newest first. The vault lists them in no order that it promises.
func (v *vault) list(ctx context.Context, name string) (list []Version, err error) {
	pages := v.client.NewListSecretPropertiesVersionsPager(name, nil)
	for pages.More() {
		page, err := pages.NextPage(ctx)
		var answer *azcore.ResponseError
		if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, p := range page.Value {
			if p == nil || p.ID == nil || p.Attributes == nil || p.Attributes.Enabled == nil || !*p.Attributes.Enabled {
				continue
			}
			if from := p.Attributes.NotBefore; from != nil && from.After(time.Now()) {
				continue
			}
			version := Version{ID: p.ID.Version()}
			if p.Attributes.Created != nil {
				version.Created = *p.Attributes.Created
			}
			if from := p.Attributes.NotBefore; from != nil && from.After(version.Created) {
				version.Created = *from // nobody could have learnt of it sooner
			}
			list = append(list, version)
		}
	}
	slices.SortStableFunc(list, func(a, b Version) int { return b.Created.Compare(a.Created) })
	return list, nil
}

// ErrRefused says that asking again changes nothing: the identity may not, or there is no such vault.
var ErrRefused = errors.New("refused")

// explain says what failed and how to mend it. The library's errors hold whole responses over many lines.
func (v *vault) explain(name string, err error) error {
	var (
		answer *azcore.ResponseError
		failed *azidentity.AuthenticationFailedError
	)
	switch {
	case errors.As(err, &failed) && failed.RawResponse != nil:
		return fmt.Errorf("no token for the vault %s: %w: %s", v.host, refusedBy(failed.RawResponse.StatusCode), identityAdvice(failed.RawResponse))
	case errors.As(err, &answer):
		advice := ""
		switch answer.StatusCode {
		case http.StatusUnauthorized:
			advice = "; is the identity of the vault's tenant?"
		case http.StatusForbidden:
			advice = "; the identity needs the role Key Vault Secrets User, and the vault's firewall must let this network in"
		case http.StatusTooManyRequests:
			advice = "; the vault is throttled"
		}
		return fmt.Errorf("the vault %s, asked for %s, answers %w%s%s", v.host, name, refusedBy(answer.StatusCode), said(answer.RawResponse), advice)
	default:
		return fmt.Errorf("the vault %s, asked for %s, can't be reached: %w", v.host, name, oneLine(err))
	}
}

// refusedBy is the status, as ErrRefused when it will stay the same.
func refusedBy(status int) error {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	if status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests {
		return fmt.Errorf("%s (%w)", text, ErrRefused)
	}
	return errors.New(text)
}

// said is the service's own explanation.
func said(res *http.Response) string {
	if res == nil {
		return ""
	}
	body, err := runtime.Payload(res)
	var told struct {
		Error struct{ Code, Message string }
	}
	if err != nil || json.Unmarshal(body, &told) != nil || told.Error.Message == "" {
		return ""
	}
	return ": " + short(told.Error.Code+": "+told.Error.Message)
}

// oneLine is an error of a library as one line that says the beginning.
func oneLine(err error) error { return textOf{err} }

type textOf struct{ error }

func (e textOf) Error() string { return short(e.error.Error()) }

// Unwrap lets errors.Is see through.
func (e textOf) Unwrap() error { return e.error }

func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 300 {
		text = text[:300] + "..."
	}
	return text
}

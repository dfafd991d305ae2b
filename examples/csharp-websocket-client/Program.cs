// Watches a deployment over SignalR and prints what happens, one JSON object a line.

using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;

string[] events =
[
    "DeploymentStarted",
    "DeploymentStatusChanged",
    "DeploymentProgress",
    "NodeChanged",
    "ApprovalRequested",
    "DeploymentCompleted",
    "DeploymentFailed",
];

var url = (Environment.GetEnvironmentVariable("HOTSWAP_URL") ?? "http://127.0.0.1:5000").TrimEnd('/');
var token = Environment.GetEnvironmentVariable("HOTSWAP_TOKEN");
// A token is visible ASCII; nothing else could stand in a header.
if (args is not [var executionId] || string.IsNullOrEmpty(token) || token.Any(letter => letter is <= ' ' or > '~'))
{
    Console.Error.WriteLine("""
        usage: dotnet run -- <executionId>

        HOTSWAP_URL is the engine (default http://127.0.0.1:5000), HOTSWAP_TOKEN its token.
        Exit codes: 0 succeeded, 1 error, 2 usage, 3 failed or rolled back, 130 interrupted.
        """);
    return 2;
}

var interrupted = new CancellationTokenSource();
Console.CancelKeyPress += (_, press) =>
{
    press.Cancel = true;
    interrupted.Cancel();
};

await using var connection = new HubConnectionBuilder()
    .WithUrl($"{url}/hubs/deployments", options =>
    {
        options.AccessTokenProvider = () => Task.FromResult<string?>(token);
    })
    .WithAutomaticReconnect(new BackOff())
    .Build();

// How far the deployment has been seen. Opaque: given back, never compared.
Position? position = null;
var subscribed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
var ended = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);

foreach (var name in events)
{
    connection.On<JsonElement>(name, async argument =>
    {
        // Events are dispatched apart from answers: the first ones may be here before the
        // answer to the subscription is. The client waits for one handler before the next.
        await subscribed.Task;
        Seen(name, argument);
    });
}
connection.Reconnected += _ => Subscribe();
connection.Closed += error =>
{
    ended.TrySetException(error ?? new InvalidOperationException("the engine closed the connection"));
    return Task.CompletedTask;
};

try
{
    await Start();
    await Subscribe();
    return await ended.Task.WaitAsync(interrupted.Token);
}
catch (OperationCanceledException) when (interrupted.IsCancellationRequested)
{
    return 130;
}
catch (Exception error)
{
    Console.Error.WriteLine(error.Message);
    return 1;
}

// Automatic reconnects begin only after the first connection; until then it is us.
async Task Start()
{
    for (var tries = 0L; ; tries++)
    {
        try
        {
            await connection.StartAsync(interrupted.Token);
            return;
        }
        catch (Exception error) when (!IsFinal(error) && !interrupted.IsCancellationRequested)
        {
            Console.Error.WriteLine($"connecting: {error.Message}");
            await Task.Delay(BackOff.After(tries), interrupted.Token);
        }
    }
}

// Neither the token nor the address gets better by waiting.
static bool IsFinal(Exception error) =>
    error is HttpRequestException
    {
        StatusCode: HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.NotFound,
    };

// A new connection has no subscriptions: this one follows each, from where it was.
async Task Subscribe()
{
    var connectionId = connection.ConnectionId;
    var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    subscribed = answered;
    // Where the connection is another one, `Reconnected` subscribes.
    for (var tries = 0L; connection.ConnectionId == connectionId; tries++)
    {
        try
        {
            Seen("Subscribed", await connection.InvokeAsync<JsonElement>(
                "SubscribeToDeployment", executionId, position, interrupted.Token));
            answered.SetResult();
            return;
        }
        // An answer of the engine: the end of a connection has taken its id away by now.
        // An error without a reason is the engine's own, and may pass.
        catch (HubException refusal) when (connection.ConnectionId == connectionId
            && !refusal.Message.EndsWith("on the server.", StringComparison.Ordinal))
        {
            ended.TrySetException(refusal);
            return;
        }
        catch (Exception error) when (!interrupted.IsCancellationRequested)
        {
            Console.Error.WriteLine($"subscribing: {error.Message}");
            await Task.Delay(BackOff.After(tries), interrupted.Token);
        }
    }
}

void Seen(string name, JsonElement argument)
{
    Console.WriteLine(JsonSerializer.Serialize(new { @event = name, argument }));
    position = new Position(
        argument.GetProperty("epoch").GetString()!,
        argument.GetProperty("offset").GetString()!);
    // It may have ended before we came: then the snapshot says so.
    var status = argument.TryGetProperty("snapshot", out var snapshot)
        ? snapshot.GetProperty("status").GetString()
        : null;
    if (name == "DeploymentCompleted" || status == "succeeded")
    {
        ended.TrySetResult(0);
    }
    else if (name == "DeploymentFailed" || status is "failed" or "rolledBack")
    {
        ended.TrySetResult(3);
    }
}

/// <summary>Where a subscription is to go on; sent as <c>{"epoch":…,"offset":…}</c>.</summary>
internal sealed record Position(string Epoch, string Offset);

/// <summary>Never gives up. Random, or all watchers of an engine that was restarted would
/// come back in the same moment.</summary>
internal sealed class BackOff : IRetryPolicy
{
    public TimeSpan? NextRetryDelay(RetryContext context)
    {
        Console.Error.WriteLine($"reconnecting: {context.RetryReason?.Message ?? "the connection was closed"}");
        return After(context.PreviousRetryCount);
    }

    public static TimeSpan After(long tries) =>
        TimeSpan.FromMilliseconds(Random.Shared.NextDouble() * Math.Min(5_000, 250 * Math.Pow(2, tries)));
}

// Watches a deployment over SignalR and prints what happens, one JSON object a line.

using System.Net;
using System.Text.Json;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;

string[] deploymentEvents =
[
    "DeploymentStarted",
    "DeploymentStatusChanged",
    "DeploymentProgress",
    "NodeChanged",
    "ApprovalRequested",
    "DeploymentPromoted",
    "SoakProgress",
    "SoakJudged",
    "DeploymentDamaged",
    "EnvironmentChanged",
    "DeploymentCompleted",
    "DeploymentFailed",
];

var url = (Environment.GetEnvironmentVariable("HOTSWAP_URL") ?? "http://127.0.0.1:5000").TrimEnd('/');
var token = Environment.GetEnvironmentVariable("HOTSWAP_TOKEN");
// A token is visible ASCII. Other characters are not valid in a header.
Topic? named = args switch
{
    ["--sources"] => new("/hubs/metrics", "SubscribeToSources", [], ["SourceChanged"], false),
    ["--metrics", var environment] =>
        new("/hubs/metrics", "SubscribeToMetrics", [environment], ["MetricsUpdated"], false),
    [var executionId] when !executionId.StartsWith('-') =>
        new("/hubs/deployments", "SubscribeToDeployment", [executionId], deploymentEvents, true),
    _ => null,
};
if (named is not { } topic || string.IsNullOrEmpty(token) || token.Any(letter => letter is <= ' ' or > '~'))
{
    Console.Error.WriteLine("""
        usage: dotnet run -- <executionId> | --metrics <environment> | --sources

        Metrics, and the sources of nodes with each change of one, are printed until interrupted.

        HOTSWAP_URL is the engine's URL (default http://127.0.0.1:5000), HOTSWAP_TOKEN an API token.
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
    .WithUrl($"{url}{topic.Hub}", options =>
    {
        options.AccessTokenProvider = () => Task.FromResult<string?>(token);
    })
    .WithAutomaticReconnect(new Backoff())
    .Build();

// The last event seen. Opaque: send it back, never compare it.
Position? position = null;
var subscribed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
var ended = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);

foreach (var name in topic.Events)
{
    connection.On<JsonElement>(name, async argument =>
    {
        // The first events may be dispatched before the answer to the subscription, so wait
        // for it. The client runs one handler at a time, which keeps the events in order.
        await subscribed.Task;
        Handle(name, argument);
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

// Automatic reconnect begins only after the first connection. This loop makes the first one.
async Task Start()
{
    for (var attempts = 0L; ; attempts++)
    {
        try
        {
            await connection.StartAsync(interrupted.Token);
            return;
        }
        catch (Exception error) when (!IsFinal(error) && !interrupted.IsCancellationRequested)
        {
            Console.Error.WriteLine($"connecting: {error.Message}");
            await Task.Delay(Backoff.DelayBefore(attempts), interrupted.Token);
        }
    }
}

// Retrying does not help against a wrong token or address.
static bool IsFinal(Exception error) =>
    error is HttpRequestException
    {
        StatusCode: HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.NotFound,
    };

// A new connection has no subscriptions. Call this on each, to resume from the last position.
async Task Subscribe()
{
    var connectionId = connection.ConnectionId;
    var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    subscribed = answered;
    // Stop if the connection was replaced: then `Reconnected` subscribes.
    for (var attempts = 0L; connection.ConnectionId == connectionId; attempts++)
    {
        try
        {
            object?[] arguments = topic.CanResume ? [.. topic.Arguments, position] : [.. topic.Arguments];
            Handle("Subscribed", await connection.InvokeCoreAsync<JsonElement>(
                topic.Method, arguments, interrupted.Token));
            answered.SetResult();
            return;
        }
        // The connection still has its id, so this error is the engine's answer. An error
        // without a reason is an internal error of the engine, and may pass.
        catch (HubException rejection) when (connection.ConnectionId == connectionId
            && !rejection.Message.EndsWith("on the server.", StringComparison.Ordinal))
        {
            ended.TrySetException(rejection);
            return;
        }
        catch (Exception error) when (!interrupted.IsCancellationRequested)
        {
            Console.Error.WriteLine($"subscribing: {error.Message}");
            await Task.Delay(Backoff.DelayBefore(attempts), interrupted.Token);
        }
    }
}

void Handle(string name, JsonElement argument)
{
    Console.WriteLine(JsonSerializer.Serialize(new { @event = name, argument }));
    if (!topic.CanResume)
    {
        return;
    }
    position = new Position(
        argument.GetProperty("epoch").GetString()!,
        argument.GetProperty("offset").GetString()!);
    // If the deployment ended before the subscription, only the snapshot says so.
    var status = argument.TryGetProperty("snapshot", out var snapshot)
        ? snapshot.GetProperty("status").GetString()
        : null;
    if (name == "DeploymentCompleted" || status is "succeeded" or "partial")
    {
        ended.TrySetResult(0);
    }
    else if (name == "DeploymentFailed" || status is "failed" or "rolledBack")
    {
        ended.TrySetResult(3);
    }
}

/// <summary>What to subscribe to: a method of a hub, its arguments, and the events that follow.</summary>
internal sealed record Topic(string Hub, string Method, string[] Arguments, string[] Events, bool CanResume);

/// <summary>The position that a subscription resumes from; sent as <c>{"epoch":…,"offset":…}</c>.</summary>
internal sealed record Position(string Epoch, string Offset);

/// <summary>Never gives up. Random delays, so that not all watchers reconnect to a restarted
/// engine at once.</summary>
internal sealed class Backoff : IRetryPolicy
{
    public TimeSpan? NextRetryDelay(RetryContext context)
    {
        Console.Error.WriteLine($"reconnecting: {context.RetryReason?.Message ?? "the connection was closed"}");
        return DelayBefore(context.PreviousRetryCount);
    }

    public static TimeSpan DelayBefore(long attempts) =>
        TimeSpan.FromMilliseconds(Random.Shared.NextDouble() * Math.Min(5_000, 250 * Math.Pow(2, attempts)));
}

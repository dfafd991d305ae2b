// The state of a deployment, computed from its events, and texts for the events. Pure: uses
// neither the page nor the connection. A state has the fields of
// `GET /api/v1/deployments/{id}` that the page shows, so a snapshot is a valid state.

export const INITIAL_STATE = { nodes: [], progress: 0 };

/** Returns the state after an event. Unknown events change nothing. */
export function applyEvent(state, event, argument) {
  switch (event) {
    case "DeploymentStarted": {
      const { moduleName, version, targetEnvironment, strategy } = argument;
      return { ...state, moduleName, version, targetEnvironment, strategy };
    }
    case "DeploymentStatusChanged": {
      // Any other status means that the approval was decided.
      const question = argument.status === "awaitingApproval" ? state.question : undefined;
      return { ...state, status: argument.status, question };
    }
    case "DeploymentProgress":
      return { ...state, stage: argument.stage, progress: argument.progress };
    case "NodeChanged": {
      const nodes = new Map(state.nodes.map((node) => [node.id, node]));
      for (const node of argument.nodes) nodes.set(node.id, node);
      return { ...state, nodes: [...nodes.values()] };
    }
    case "ApprovalRequested":
      return { ...state, question: argument.prompt };
    case "DeploymentCompleted":
      return { ...state, status: argument.status, progress: 100 };
    case "DeploymentFailed":
      return { ...state, status: argument.status, cause: argument.cause };
    default:
      return state;
  }
}

/** Describes an event in one line, for the log. */
export function describeEvent(event, argument) {
  switch (event) {
    case "DeploymentStarted":
      return `${argument.moduleName} ${argument.version} → ${argument.targetEnvironment}, by ${argument.strategy}`;
    case "DeploymentStatusChanged":
      return [STATUSES[argument.status] ?? argument.status, argument.details].filter(Boolean).join(": ");
    case "DeploymentProgress":
      return `${argument.progress} %, ${argument.stage}`;
    case "NodeChanged":
      return argument.nodes.map((node) => `${node.id} ${phaseText(node)}`).join(", ");
    case "ApprovalRequested":
      return argument.prompt;
    case "DeploymentPromoted":
      return `${argument.full ? "all waits" : "the wait"} ended by ${argument.by}${argument.reason ? `: ${argument.reason}` : ""}`;
    case "SoakProgress":
    case "SoakJudged":
      return argument.findings.map((finding) => `${finding.check.metric} ${finding.judgement}: ${finding.reason}`).join("; ");
    case "DeploymentDamaged":
      return `event ${argument.seq} of the journal cannot be read: ${argument.reason}`;
    case "EnvironmentChanged":
      return `${argument.environment}: ${argument.message}`;
    case "DeploymentCompleted":
      return `after ${seconds(argument.durationMs)}`;
    case "DeploymentFailed":
      return `after ${seconds(argument.durationMs)}, because ${argument.cause?.message ?? "of an unknown cause"}`;
    default:
      return "";
  }
}

export const EVENTS = [
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

export const STATUSES = {
  pending: "○ pending",
  awaitingApproval: "? awaiting approval",
  running: "▶ running",
  paused: "⏸ paused",
  rollingBack: "↶ rolling back",
  succeeded: "✔ succeeded",
  partial: "✔ succeeded in part",
  rolledBack: "✘ rolled back",
  failed: "✘ failed",
};

const PHASES = {
  pending: "○ pending",
  staged: "◔ staged",
  shifted: "◑ shifted",
  active: "● active",
  reverted: "↶ reverted",
  failed: "✘ failed",
};

export function phaseText({ phase: name, percent }) {
  const text = PHASES[name] ?? name;
  return percent === undefined ? text : `${text} ${percent} %`;
}

function seconds(millis) {
  return `${(millis / 1000).toFixed(1)} s`;
}

//! pandas and numpy in code that somebody just wrote.

use rumi_tests::{Broker, Home};
use serde_json::{Value, json};

#[test]
fn ad_hoc_code_imports_pandas_and_says_when_its_memory_is_too_little() {
    let home = Home::new();
    home.configure(|config| config["exec"]["requirements"] = json!({"python": ["pandas==3.1.1"]}));
    let table = home.file("rain.csv", "city,rain\nOslo,3\nLima,0\nOslo,4\n");
    let broker = Broker::start(home);
    let given = format!("rain.csv={}", table.display());
    let code = "import pandas as pd, numpy as np\ntable = pd.read_csv('rain.csv')\n\
                print(table.groupby('city').rain.sum().to_dict(), np.arange(4).sum())";
    let words = [
        "-o", "json", "exec", "--time", "120", "--file", &given, "-c", code,
    ];
    let with = |memory: &str| -> Value {
        let output = broker.packctl(&[&words[..], &["--memory", memory]].concat());
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let reply = with("256");
    assert_eq!(reply["stdout"], "{'Lima': 0, 'Oslo': 7} 6\n", "{reply}");
    assert_eq!(reply["exit_code"], 0, "{reply}");
    let reply = with("16");
    assert_eq!(reply["stopped_reason"], "memory", "{reply}");
}
